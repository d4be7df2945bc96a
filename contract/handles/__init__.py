"""The catalogue of handles: one file per key under `handles:` in a topology, found by file name.

A file defines `HANDLE`, a `HandleKind`. To add a kind, add a file; `deployment.py` is the smallest.
"""

import functools
import importlib
import pkgutil

from contract.handle_kind import HandleKind


def names() -> list[str]:
    """The keys that a topology may give, besides `unprotected`."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


@functools.cache
def find(name: str) -> HandleKind:
    """The name must be one of `names`."""
    found: HandleKind = importlib.import_module(f"{__name__}.{name}").HANDLE
    return found
