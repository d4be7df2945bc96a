"""The catalogue of expectations: one file per word under `expect:`.

A file holds `Params` (what it takes), and `check(params, run) -> Finding`, whose docstring is its definition. To add an
expectation is to add a file; `cuts.py` is the smallest.
"""

import importlib
import pkgutil
from types import ModuleType


def catalogue() -> dict[str, ModuleType]:
    """Every checker by the word that operators write."""
    found = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in found}
