"""Cache what a figure computes from a run: its title, CSV and picture use the same table."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from analysis.evidence import Evidence

T = TypeVar("T")


def once(compute: Callable[[Evidence], T]) -> Callable[[Evidence], T]:
    """Cache the result for as long as the run is in memory. Callers share the result and must not change it."""
    known: WeakKeyDictionary[Evidence, T] = WeakKeyDictionary()

    @wraps(compute)
    def cached(run: Evidence) -> T:
        if run not in known:
            known[run] = compute(run)
        return known[run]

    return cached
