"""A forest plot: every difference with its interval and its tolerance."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.compare import comparison, summary
from analysis.compare.comparison import FOUND, HEADLINES, Comparison
from analysis.compare.judged import Judged, Row, value_of
from analysis.figures import style

COLOURS = {
    Judged.WORSE: style.LIMIT, Judged.SLIGHTLY_WORSE: "#E69F00", Judged.BETTER: "#009E73",
    Judged.NO_DIFFERENCE: style.UNKNOWN, Judged.CANNOT_TELL: "#CCCCCC",
}  # fmt: skip
MOST_ROWS = 36
LEAST, MOST = 25.0, 200.0  # percent: minimum and maximum extent of the axis
_TOLERATED = "#E8F0E8"


def title(c: Comparison) -> str:
    return summary.of_metrics(c)


def draw(c: Comparison) -> Figure | None:
    """Shows which intervals leave the tolerated band, and how wide the others are.

    A dot is B − A in percent of A, with its 95 % interval; for proportions and for a baseline of 0, in points. The pale band is
    the tolerance. Metrics with a difference come first, then the medians, rates and shares of the rest.
    """
    rows = _rows(c)
    if not rows:
        return None
    made = style.figure(width=9.4, height=1.5 + 0.23 * len(rows))
    axes = made.add_subplot()
    spans = [_percent(r) for r in rows]
    ends = [x for s in spans for x in s if abs(x) < float("inf")]
    least, most = max(-MOST, min(-LEAST, 1.12 * min(ends))), min(MOST, max(LEAST, 1.12 * max(ends)))
    for at, (row, (value, low, high)) in enumerate(zip(rows, spans, strict=True)):
        tolerated = row.may_grow_by * _scale(row)
        left, right = (least, min(tolerated, most)) if row.worse_if > 0 else (max(-tolerated, least), most)
        axes.barh(at, right - left, left=left, height=0.86, color=_TOLERATED, lw=0, zorder=0)
        colour = COLOURS[row.judged]
        axes.plot([max(low, least), min(high, most)], [at, at], color=colour, lw=2.2, zorder=2)
        marker = ">" if value > most else "<" if value < least else "o"  # beyond the edge: the direction
        axes.plot(min(max(value, least), most), at, marker=marker, ms=5, color=colour, mec="white", mew=0.6, zorder=3,
                  clip_on=False)  # fmt: skip
        assert row.found is not None
        axes.annotate(
            comparison.change(row.found.value, row.unit), (1.01, at), xycoords=("axes fraction", "data"), va="center",
            fontsize=7.5, color=style.INK if row.judged in FOUND else "#777777",
        )  # fmt: skip
    axes.axvline(0, color=style.INK, lw=0.9, zorder=1)
    axes.set_yticks(range(len(rows)), [_label(r) for r in rows], fontsize=7.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(least, most)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("B − A in percent of A, with its 95 % interval (of proportions: percentage points)")
    there = {r.judged for r in rows}
    marks: list[Line2D | Patch] = [
        Line2D([], [], marker="o", color=k, lw=2.2, ms=5, label=j) for j, k in COLOURS.items() if j in there
    ]
    marks.append(Patch(color=_TOLERATED, label="not worse than tolerated"))
    axes.legend(
        handles=marks, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=len(marks), columnspacing=1.2
    )
    return made


def _rows(c: Comparison) -> list[Row]:
    shown = sorted((r for r in c.rows if r.judged in FOUND), key=lambda r: FOUND.index(r.judged))
    shown += [r for r in c.rows if r.found is not None and r not in shown and r.statistic in HEADLINES]
    return shown[:MOST_ROWS]


def _scale(row: Row) -> float:
    """A number of the row's unit → percent of A, or points."""
    assert row.a is not None
    of = abs(value_of(row.a))
    return 100.0 if row.unit == "share" or not of else 100.0 / of


def _percent(row: Row) -> tuple[float, float, float]:
    assert row.found is not None
    k = _scale(row)
    return row.found.value * k, row.found.low * k, row.found.high * k


def _label(row: Row) -> str:
    direct = ", direct" if row.via == row.of else ""
    return f"{row.name} · {style.shortened(row.of)}{direct}"
