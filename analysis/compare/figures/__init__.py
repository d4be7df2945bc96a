"""The figures of a comparison: one module each, with `title` (the title) and `draw`; their numbers are in comparison.csv."""

from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis.compare.comparison import Comparison
from analysis.compare.figures import differences, latency, trials
from analysis.figures import style

FIGURES = {"differences": differences, "latency": latency, "trials": trials}


def draw(name: str, c: Comparison) -> Figure:
    """The figure with its title; if it has no data, only the title with the reason."""
    with rc_context(style.LOOK):
        made = FIGURES[name].draw(c)
        if made is None:
            made = style.figure(height=2.0)
            axes = made.add_subplot()
            axes.set_axis_off()
    style.headed(made, FIGURES[name].title(c), f"A {c.a.name} · B {c.b.name}")
    return made
