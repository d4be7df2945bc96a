"""The catalogue of faults, found by file name."""

import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    """The words that a timeline may name."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The driver's module, with its `make`; the name must be one of `names`."""
    return importlib.import_module(f"{__name__}.{name}")
