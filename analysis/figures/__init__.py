"""The catalogue of figures: one file per figure, and each has three functions.

- `says(run) -> str`: what is to be seen in this run, computed; the title. Where there is nothing to show, why.
- `data(run) -> pd.DataFrame`: the numbers that the picture shows, a row for each mark, units in the columns' names; no rows
  where there is nothing to show. Points are thinned as they are drawn (`thinning`), so that a day stays a few MB.
- `draw(run) -> Figure`; its docstring says how to read it.

A figure whose data is missing says so in the picture; one that throws says that, and the report goes on.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pandas as pd

from analysis.columnar import columns
from analysis.evidence import Evidence
from analysis.figures import style
from analysis.progress import OnProgress, each, no_progress
from contract.run import write_whole


def catalogue() -> dict[str, ModuleType]:
    """Every figure by its name; the files without `draw` are what figures share."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "draw")}


def write_all(run: Evidence, folder: Path, on_progress: OnProgress = no_progress) -> None:
    """Every figure as <name>.png, and beside it its numbers as <name>.csv."""
    modules = catalogue()
    for name in each(on_progress, "drawing", list(modules)):
        write_one(run, name, modules[name], folder)
        columns.release_memory()


def write_one(run: Evidence, name: str, module: ModuleType, folder: Path) -> None:
    table = pd.DataFrame()
    try:
        table = module.data(run)
        figure = module.draw(run)
    except Exception as e:  # a picture must not cost the verdict
        said = run.thrown.add(f"figure {name}", e)
        figure = style.empty(run, name.replace("_", " "), f"it could not be drawn: {said}")
    write_whole(folder / f"{name}.csv", table.to_csv(index=False))
    style.save(figure, folder / f"{name}.png")
