"""The quantile of all reports: an observed value, never an interpolated one. Pure."""

from collections.abc import Iterable
from itertools import count
from math import ceil

_ROUNDING = 1e-9  # of a product that should be a whole number, so that its rank is not one too high


def rank(n: int, share: float) -> int:
    """The index, from 0 in ascending order, of the quantile `share` (0.99: p99) of n values: ⌈share · (n − 1)⌉.

    The position (n − 1) · share is Hyndman & Fan's type 7 (1996), at which most tools interpolate. Here it is the observed
    value at the position or, between two values, the higher one: numpy's `method="higher"`.
    """
    return max(0, ceil(share * (n - 1) - _ROUNDING))


def quantile(values: Iterable[float], share: float) -> float | None:
    """The quantile of these values; None: there are none."""
    ordered = sorted(values)
    return ordered[rank(len(ordered), share)] if ordered else None


def needs(share: float) -> int:
    """The least number of values at which a quantile is not the maximum: p95 21, p99 101."""
    return next(n for n in count(2) if rank(n, share) < n - 1)
