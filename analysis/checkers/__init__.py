"""The catalogue of expectations: one module for each key under `expect:`.

A module has `Params` (its parameters) and `check(params, run) -> Finding`, whose docstring is the definition. To add an
expectation, add a module; `cuts.py` is the smallest.
"""

import importlib
import pkgutil
from types import ModuleType


def catalogue() -> dict[str, ModuleType]:
    """Every checker by its key under `expect:`."""
    found = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in found}
