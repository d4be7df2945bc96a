"""Exact quantiles of numbers too many to sort or copy: counts them in bins, then sorts only the bins that matter. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

_KINDS = 2**16  # upper halves of a float32: numbers with the same half differ by less than a hundredth
# The upper halves in the order of their numbers: the negative ones reversed, then the others.
_ORDER = np.concatenate([np.arange(_KINDS - 1, _KINDS // 2 - 1, -1), np.arange(_KINDS // 2)])


@dataclass(frozen=True, slots=True)
class Counted:
    """The result of `counted`. `at`: the numbers at the requested ranks, in the order requested."""

    n: int
    mean: float
    at: tuple[float, ...]
    steps: tuple[
        np.ndarray, np.ndarray
    ]  # numbers at most a hundredth apart, and the share that is not larger


def counted(parts: Callable[[], Iterable[np.ndarray]], ranks: Callable[[int], Sequence[int]]) -> Counted:
    """Float32 numbers at their ranks (from 0, in ascending order), exactly, and their mean.

    `parts` yields all numbers in parts and is called twice; `ranks` returns the requested ranks for n numbers.
    """
    count, total = np.zeros(_KINDS, dtype=np.int64), 0.0
    for part in parts():
        count += np.bincount(_upper(part), minlength=_KINDS)
        total += float(part.sum(dtype=np.float64))
    n = int(count.sum())
    if not n:
        return Counted(0, float("nan"), (), (np.zeros(0), np.zeros(0)))
    came = np.cumsum(count[_ORDER])  # how many numbers there are up to each bin, in order
    requested = list(ranks(n))
    places = np.searchsorted(came, requested, "right")
    near = np.zeros(_KINDS, dtype=bool)
    near[_ORDER[places]] = True
    held = np.sort(np.concatenate([part[near[_upper(part)]] for part in parts()]))
    # Among the held numbers, those of earlier bins come first.
    kinds = np.unique(places)
    before = np.concatenate([[0], np.cumsum(count[_ORDER[kinds]])])
    at = []
    for rank, place in zip(requested, places, strict=True):
        within = rank - (came[place] - count[_ORDER[place]])
        at.append(float(held[before[np.searchsorted(kinds, place)] + within]))
    some = _ORDER[count[_ORDER] > 0]
    largest = ((some.astype(np.uint32) << 16) | 0xFFFF).view(np.float32)  # of its bin, if it is not negative
    return Counted(n, total / n, tuple(at), (largest.astype(float), np.cumsum(count[some]) / n))


def _upper(part: np.ndarray) -> np.ndarray:
    """The upper halves: sign, exponent, and seven bits of the rest."""
    return (np.ascontiguousarray(part, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)
