"""The catalogue of figures: one file per figure, each with `draw(run) -> Figure`; its docstring says what is to be seen.

A figure whose data is missing says so in the picture; one that throws says that, and the report goes on.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from analysis.evidence import Evidence
from analysis.figures import style
from analysis.progress import Told, each, silent


def catalogue() -> dict[str, ModuleType]:
    """Every figure by its name; the files without `draw` are what figures share."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "draw")}


def write_all(run: Evidence, folder: Path, told: Told = silent) -> None:
    modules = catalogue()
    for name in each(told, "drawing", list(modules)):
        module = modules[name]
        try:
            figure = module.draw(run)
        except Exception as e:  # a picture must not cost the verdict
            figure = style.empty(
                run, name.replace("_", " "), f"it could not be drawn: {type(e).__name__}: {e}"
            )
        style.save(figure, folder / f"{name}.png")
