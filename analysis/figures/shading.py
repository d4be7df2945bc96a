"""The faults in a figure over time: a strip of its own for each step, as Jepsen draws them, and a shade through the plot."""

from matplotlib.axes import Axes

from analysis.evidence import Evidence
from analysis.figures import style
from analysis.windows import Phase, phases_of

_ALPHA = {"transition": 0.45, "in effect": 0.85, "mending": 0.45}
_THROUGH = 0.10  # alpha of the shade through the plot
_FITS = 0.0092  # share of the width that one letter of a label takes, about


def phases(run: Evidence) -> list[Phase]:
    """All phases in which a fault holds its target."""
    return [p for t in run.trials for p in phases_of(t) if p.name in _ALPHA]


def shade(axes: Axes, run: Evidence) -> None:
    """Where any fault is in force, from commanded to verified mended."""
    started_at = run.frames.started_at
    for p in phases(run):
        axes.axvspan(
            p.start - started_at, p.end - started_at, color=style.SHADE, alpha=_THROUGH, lw=0, zorder=0
        )
    for t in run.trials:
        if t.gone_from is not None:
            axes.axvline(t.gone_from - started_at, color=style.SHADE, lw=0.7, ls=":", zorder=0)
        if t.mended_at is not None:
            axes.axvline(t.mended_at - started_at, color=style.SHADE, lw=0.7, ls=":", zorder=0)


def strips(axes: Axes, run: Evidence) -> None:
    """One strip for each step: pale in transition and mending, full in effect, its name in it or beside it."""
    steps = list(dict.fromkeys(t.step for t in run.trials))
    axes.set_ylim(len(steps) - 0.5 if steps else 0.5, -0.5)
    axes.set_yticks(range(len(steps)), steps)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.grid(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    low, high = axes.get_xlim()
    for p in phases(run):
        start, length = p.start - run.frames.started_at, p.end - p.start
        row = steps.index(p.step)
        # Grey, never the target's colour: that colour says everywhere else that the tier serves.
        axes.barh(row, length, left=start, height=0.74, color=style.SHADE, alpha=_ALPHA[p.name], lw=0)
        if p.name != "in effect":
            continue
        words = _words(run, p)
        fits = next((w for w in words if length / (high - low) > len(w) * _FITS), None)
        if fits:
            axes.text(start + length / 2, row, fits, ha="center", va="center", fontsize=8, color="white",
                      fontweight="bold")  # fmt: skip


def _words(run: Evidence, p: Phase) -> list[str]:
    """What the strip may say, longest first: the first that fits is taken."""
    fault = next(t.fault for t in run.trials if (t.step, t.trial) == (p.step, p.trial))
    return [f"{fault} {p.target}", p.target]


def rows(run: Evidence) -> int:
    return max(1, len({t.step for t in run.trials}))
