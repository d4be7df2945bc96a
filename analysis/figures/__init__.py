"""The catalogue of figures: one file per figure, each with three functions.

- `title(run) -> str`: the result of this run in words. If there is nothing to show, the reason.
- `data(run) -> pd.DataFrame`: the numbers in the picture, one row per mark, units in the column names; no rows if there is
  nothing to show. Points are thinned as drawn (`thinning`), so that a day of data stays a few MB.
- `draw(run) -> Figure`: its docstring explains how to read the figure.

A figure without data states the reason in the picture. A figure that raises an exception shows the error instead; the report
continues.
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
from analysis.reporting import csv_text
from contract.run import write_whole


def catalogue() -> dict[str, ModuleType]:
    """Every figure by its name; modules without `draw` are shared code."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "draw")}


def write_all(run: Evidence, folder: Path, on_progress: OnProgress = no_progress) -> None:
    """Write every figure as <name>.png and its numbers as <name>.csv."""
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
        error = run.thrown.add(f"figure {name}", e)
        figure = style.empty(run, name.replace("_", " "), f"it could not be drawn: {error}")
    write_whole(folder / f"{name}.csv", csv_text.as_csv(table))
    style.save(figure, folder / f"{name}.png")
