"""What a quantile is, wherever one is reported: an observed value, never one between two. Pure."""

from collections.abc import Iterable
from itertools import count
from math import ceil

_ROUNDING = 1e-9  # of a product that should be a whole number: no rank is one too high for it


def rank(n: int, share: float) -> int:
    """The place, from 0 in ascending order, of the quantile `share` (0.99: p99) of n values: ⌈share · (n − 1)⌉.

    The position (n − 1) · share is that of Hyndman & Fan's type 7 (1996), which most tools use and interpolate at; here the
    observed value at it stands, or where it lies between two, the higher one: numpy's `method="higher"`.
    """
    return max(0, ceil(share * (n - 1) - _ROUNDING))


def quantile(values: Iterable[float], share: float) -> float | None:
    """That quantile of these values; None of none."""
    ordered = sorted(values)
    return ordered[rank(len(ordered), share)] if ordered else None


def needs(share: float) -> int:
    """So many values before a quantile is another than the slowest of them: p95 21, p99 101."""
    return next(n for n in count(2) if rank(n, share) < n - 1)
