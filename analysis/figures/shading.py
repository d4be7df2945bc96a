"""The faults in a figure over time: one strip per step, as in Jepsen, and a shade through the plot."""

from itertools import groupby

from matplotlib.axes import Axes

from analysis.evidence import Evidence
from analysis.figures import style
from analysis.metrics.windows import Phase, phases_of
from analysis.reporting import formatting as words_of

_ALPHA = {"transition": 0.45, "in effect": 0.85, "restoring": 0.45}
_THROUGH = 0.10  # alpha of the shade through the plot
_FITS = 0.0092  # share of the width that one letter of a label takes, about
_LEAST = 0.0012  # share of the width below which a strip could not be seen
MOST_LINES = 60  # trials; with more of them the lines at their edges would hide the plot


def phases(run: Evidence) -> list[Phase]:
    """All phases in which a fault holds its target."""
    return [p for t in run.trials for p in phases_of(t) if p.name in _ALPHA]


def shade(axes: Axes, run: Evidence) -> None:
    """Shade the time in which any fault is in force, from commanded to verified restored."""
    started_at = run.frames.started_at
    spans = [(p.start - started_at, p.end - p.start) for p in phases(run)]
    # In the axes' own height, so that the plot's limits stay what its points make them.
    axes.broken_barh(spans, (0, 1), transform=axes.get_xaxis_transform(), color=style.SHADE, alpha=_THROUGH, lw=0,
                     zorder=0)  # fmt: skip
    if len(run.trials) <= MOST_LINES:
        edges = [(t.gone_from, None if t.restored_at is None else t.gone_until) for t in run.trials]
        for at in [at for edge in edges for at in edge if at is not None]:
            axes.axvline(at - started_at, color=style.SHADE, lw=0.7, ls=":", zorder=0)


def strips(axes: Axes, run: Evidence) -> None:
    """One strip per step: pale in transition and restoring, full in effect, labelled inside or beside it."""
    steps = list(dict.fromkeys(t.step for t in run.trials))
    axes.set_ylim(len(steps) - 0.5 if steps else 0.5, -0.5)
    axes.set_yticks(range(len(steps)), [style.shortened(s) for s in steps])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.grid(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    low, high = axes.get_xlim()
    if not steps:
        axes.text(0.0, 0.5, "no fault was injected", transform=axes.transAxes, va="center", color=style.SHADE)
    faults = {(t.step, t.trial): t.fault for t in run.trials}
    found = sorted(phases(run), key=lambda p: (p.step, p.name))
    for (step, name), group in groupby(found, key=lambda p: (p.step, p.name)):
        row, mine = steps.index(step), list(group)
        spans = [(p.start - run.frames.started_at, max(p.end - p.start, _LEAST * (high - low))) for p in mine]
        # Grey, never the target's colour: everywhere else that colour means that the tier serves.
        axes.broken_barh(spans, (row - 0.37, 0.74), color=style.SHADE, alpha=_ALPHA[name], lw=0)
        if name == "transition":
            continue
        for p, (start, length) in zip(mine, spans, strict=True):
            words = (f"{faults[p.step, p.trial]} {p.target}", p.target)  # the first that fits is taken
            if name == "restoring":
                took = words_of.length(p.end - p.start)
                words = (f"restoring {p.target} {took}", took)
            fits = next((w for w in words if length / (high - low) > len(w) * _FITS), None)
            if fits:
                axes.text(start + length / 2, row, fits, ha="center", va="center", fontsize=8, color="white",
                          fontweight="bold")  # fmt: skip


def rows(run: Evidence) -> int:
    return max(1, len({t.step for t in run.trials}))
