"""The look of every figure: one colour per tier, sizes, fonts, saving; the picture for "no data". Independent of metrics."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from re import sub
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from analysis.evidence import Evidence
from contract.run import write_whole

DPI = 200  # twice the pixels of the size in a document
# Okabe and Ito's colour-blind-safe palette; a tier has the colour of its place in the fallback order in every figure.
_TIERS = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#CC79A7", "#F0E442")
CUT, FAILED, UNKNOWN, LIMIT, INK, SHADE = "#D55E00", "#111111", "#999999", "#B00020", "#333333", "#7A7A7A"
LOOK: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def tier_colours(tiers: Iterable[str]) -> dict[str, str]:
    return {tier: _TIERS[i % len(_TIERS)] for i, tier in enumerate(tiers)}


def places(tier: pd.Series, tiers: Sequence[str]) -> np.ndarray:
    """The index of each in the fallback order; -1: unknown tier."""
    code, names = pd.factorize(tier)
    return np.append(pd.Index(list(tiers)).get_indexer(pd.Index(names)), -1)[code]


def length_s(run: Evidence) -> float:
    """The known length of the run in seconds: the width of a figure over time."""
    return max(1.0, run.frames.ended_at - run.frames.started_at)


def figure(width: float = 9.0, height: float = 5.0) -> Figure:
    with rc_context(LOOK):
        made = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(made)
    return made


def title(made: Figure, words: str, run: Evidence, n: str) -> None:
    """The title, and below the figure the run and the sample size."""
    notes = [run.frames.name, n]
    if run.frames.cut_short:
        notes.append("CUT SHORT")
    headed(made, words, " · ".join(notes))


def headed(made: Figure, words: str, note: str) -> None:
    """The same with any note: a picture may show more than one run."""
    kept = sub(r"(?<=\d) (?=(s|ms|%|h|min)\b|%)", "\N{NO-BREAK SPACE}", words)  # a number stays with its unit
    kept = sub(
        r"(?<=\[)[^\[\]]*(?=\])", lambda m: m[0].replace(" ", "\N{NO-BREAK SPACE}"), kept
    )  # so does an interval
    lines = balanced(kept, int(94 * made.get_figwidth() / 9)) if len(words) > 80 else [kept]
    size = 11.5 if len(words) <= 80 else 10.5
    made.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=size, fontweight="bold", color=INK)
    made.text(0.99, 0.003, note, ha="right", va="bottom", fontsize=7.5, color="#555555")
    made.set_layout_engine("constrained", rect=(0, 0.03, 1, 0.97))


def balanced(text: str, most: int) -> list[str]:
    """Lines of at most `most` characters, as few as possible and of about one length: no last line of a single word."""
    lines = wrap(text, most)
    width = next(w for w in range(most // len(lines), most + 1) if len(wrap(text, w)) <= len(lines))
    return wrap(text, width)


def dots(colours: dict[str, str]) -> list[Line2D]:
    """Legend entries of the tiers."""
    return [
        Line2D([], [], marker="o", linestyle="", color=c, label=t, markersize=5) for t, c in colours.items()
    ]


def legend(axes: Axes, marks: Sequence[Any], most: int = 6) -> None:
    """A legend above the axes, with at most `most` entries per row."""
    if marks:
        axes.legend(
            handles=marks, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(most, len(marks)), handletextpad=0.4,
            columnspacing=1.4,
        )  # fmt: skip


def note(axes: Axes, words: str) -> None:
    """Write a text in the middle of a panel that has nothing to show."""
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, color=INK)


def empty(run: Evidence, what: str, why: str) -> Figure:
    """The picture of a figure that has nothing to show."""
    made = figure(height=2.4)
    with rc_context(LOOK):
        axes = made.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", fontsize=12, color=INK, wrap=True)
    title(made, f"{what}: nothing to show", run, "n = 0")
    return made


# Seconds between two labels of a time axis, and the units: up to so many seconds, seconds per unit, name.
_STEPS_S = (
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14_400,
    21_600,
    43_200,
    86_400,
    172_800,
)
_UNITS = ((600.0, 1.0, "seconds"), (10_800.0, 60.0, "minutes"), (float("inf"), 3600.0, "hours"))


def time_axis(axes: Axes, long_s: float, note: str = "") -> None:
    """The x axis of a figure over time: positions are seconds since the run's start, the unit of the labels fits its length."""
    unit_s, unit = next((per, name) for most, per, name in _UNITS if long_s <= most)
    step_s = next((s for s in _STEPS_S if long_s / s <= 12), _STEPS_S[-1])
    axes.xaxis.set_major_locator(MultipleLocator(step_s))
    axes.xaxis.set_major_formatter(lambda s, _: f"{s / unit_s:g}")
    axes.set_xlabel(f"{unit} since the run's start{f'    ({note})' if note else ''}")


def log_ms(axes: Axes, which: str) -> None:
    """Make the "x" or "y" axis logarithmic, in milliseconds, with readable labels: 200 ms, 1 s."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    wide = low > 0 and high / low > (
        200 if which == "x" else 20_000
    )  # then labels between the decades would overlap
    if low > 0 and high / low < 4:  # hardly a 1, 2 or 5 in it
        axis.set_major_locator(MaxNLocator(4))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda ms, _: ms_text(ms))
    axis.set_minor_formatter(NullFormatter())


def shortened(name: str, most: int = 22) -> str:
    """A step's name as a label beside a plot."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def ms_text(ms: float) -> str:
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


def ms_short(ms: float) -> str:
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.0f} ms"


def seconds_text(s: float) -> str:
    return f"{s:.2f} s" if s < 10 else f"{s:.1f} s" if s < 100 else f"{s:.0f} s"


def span_text(s: float) -> str:
    """A length or an instant of a run in a readable unit: 41 s, 12 min, 3.5 h."""
    if s < 100:
        return f"{s:.3g} s"
    return f"{s:.0f} s" if s < 600 else f"{s / 60:.3g} min" if s < 10_800 else f"{s / 3600:.3g} h"


def percent(part: float, whole: float) -> str:
    """`66 %`; a part above zero is never `0 %`."""
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 1 or not part else f"{share:.2g} %"


def save(made: Figure, path: Path) -> None:
    """Lay out and draw once. `savefig` draws every figure twice, the first time only for its layout."""
    with rc_context(LOOK):
        layout = made.get_layout_engine()
        if layout is not None:
            layout.execute(made)
            made.set_layout_engine("none")
        canvas = made.canvas
        assert isinstance(canvas, FigureCanvasAgg)  # as `figure` gave it
        picture = io.BytesIO()
        canvas.print_png(picture, metadata={"Software": None})
    write_whole(path, picture.getvalue())
