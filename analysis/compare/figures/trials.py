"""Every trial of both runs side by side: failover, gap, recovery, unavailability of each step."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.compare import comparison
from analysis.compare.comparison import Comparison
from analysis.compare.estimate import Trials
from analysis.compare.judged import Row, value_of
from analysis.figures import style

METRICS = ("failover", "gap_new", "gap_kept", "recovery", "unavailability")
A, B = "#777777", "#0072B2"


def title(c: Comparison) -> str:
    """`Failover: gone 0.44 s → 0.61 s (slightly worse)`"""
    parts = [
        f"{r.of} {comparison.value(value_of(r.a), r.unit)} → {comparison.value(value_of(r.b), r.unit)} ({r.judged})"
        for r in _rows(c)
        if r.metric == "failover" and r.a is not None and r.b is not None
    ]
    return f"Failover: {', '.join(parts)}" if parts else "No failover was seen in both runs"


def draw(c: Comparison) -> Figure | None:
    """Shows how much the trials of each run vary, and whether those of B take longer.

    Grey (above) is A, blue (below) is B; the bar is the median. A hollow dot is a lower bound: its end was not seen.
    """
    rows = _rows(c)
    if not rows:
        return None
    made = style.figure(height=1.5 + 0.5 * len(rows))
    axes = made.add_subplot()
    for at, row in enumerate(rows):
        for number, colour, shift in ((row.a, A, -0.17), (row.b, B, 0.17)):
            if not isinstance(number, Trials):
                continue
            for value, censored in zip(number.values, number.censored, strict=True):
                axes.plot(value, at + shift, marker="o", ms=5, mec=colour, mew=1.1, alpha=0.8, clip_on=False,
                          color="none" if censored else colour)  # fmt: skip
            middle = value_of(number)
            axes.plot([middle, middle], [at + shift - 0.15, at + shift + 0.15], color=colour, lw=2)
    axes.set_yticks(range(len(rows)), [_label(r) for r in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds")
    axes.grid(axis="y", visible=False)
    marks = [Line2D([], [], marker="o", ls="", color=k, label=x, ms=5) for x, k in (("A", A), ("B", B))]
    marks.append(
        Line2D([], [], marker="o", ls="", color="none", mec=style.INK, ms=5, label="longer than this")
    )
    axes.legend(handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return made


def _rows(c: Comparison) -> list[Row]:
    return [r for r in c.rows if r.metric in METRICS]


def _label(row: Row) -> str:
    n = " / ".join(str(len(x.values)) if isinstance(x, Trials) else "0" for x in (row.a, row.b))
    return f"{row.metric.replace('_', ' ')} · {style.shortened(row.of)} (n = {n})"
