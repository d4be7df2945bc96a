"""What a figure computes of a run is computed once, whoever asks: its title, its CSV and its picture rest on the same table."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from analysis.evidence import Evidence

T = TypeVar("T")


def once(compute: Callable[[Evidence], T]) -> Callable[[Evidence], T]:
    """Remember what came of it for as long as the run is in memory. What is handed out is shared: nobody changes it."""
    known: WeakKeyDictionary[Evidence, T] = WeakKeyDictionary()

    @wraps(compute)
    def asked(run: Evidence) -> T:
        if run not in known:
            known[run] = compute(run)
        return known[run]

    return asked
