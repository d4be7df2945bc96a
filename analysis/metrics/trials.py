"""The statistics of repeated trials and of shares: median, its exact interval, maximum. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Value:
    """The value of one trial. `censored`: it is longer than this by an unknown time. A value of None: nothing was seen."""

    step: str
    trial: int
    value: float | None
    censored: bool = False
    why: str | None = None  # if the value is None: what was missing

    @property
    def text(self) -> str:
        if self.value is None:
            return "unknown"
        return f"> {self.value:.3g}" if self.censored else f"{self.value:.3g}"


@dataclass(frozen=True, slots=True)
class Summary:
    """The statistics of the trials with a value; censored ones are sorted by their bound."""

    n: int
    median: float | None
    # exact, 95 %; None below six trials; an upper end of None: a censored trial is at that rank or below
    interval: tuple[float, float | None] | None
    maximum: float | None
    censored: int
    unseen: int  # trials without a value
    median_censored: bool = False  # it rests on a censored trial: a lower bound
    maximum_censored: bool = False

    def text(self, unit: str) -> str:
        """`0.41 s (median of 9; 95 % in [0.3, 0.8]; max of 9: 0.9 s)`; lower bounds have a `>`."""
        if self.maximum is None or self.median is None:
            return "unknown"
        more = ">" if self.maximum_censored else ""
        if self.n == 1:
            return f"{'> ' if self.maximum_censored else ''}{self.maximum:.3g} {unit} (one trial)"
        parts = [f"median of {self.n}"]
        if self.interval:
            low, high = self.interval
            parts.append(f"95 % in [{low:.3g}, {'?' if high is None else f'{high:.3g}'}]")
        parts.append(f"max of {self.n}: {more}{self.maximum:.3g} {unit}")
        if self.censored:
            parts.append(f"{self.censored} censored")
        return f"{'> ' if self.median_censored else ''}{self.median:.3g} {unit} ({'; '.join(parts)})"


def summarise(values: Sequence[Value]) -> Summary:
    """Median, interval and maximum of the trials' values.

    A censored value counts with its bound: the interval's lower end remains valid, its upper end may not (None). A median with a
    censored value at or below the middle, and a maximum with any censored value, are lower bounds and are marked as such.
    """
    known = [v for v in values if v.value is not None]
    seen = sorted(v.value for v in known if v.value is not None)
    bounds = [v.value for v in known if v.censored and v.value is not None]
    return Summary(
        n=len(seen),
        median=median(seen) if seen else None,
        interval=_interval(seen, bounds),
        maximum=seen[-1] if seen else None,
        censored=len(bounds),
        unseen=len(values) - len(known),
        median_censored=bool(bounds) and min(bounds) <= seen[len(seen) // 2],
        maximum_censored=bool(bounds),
    )


def _interval(seen: list[float], bounds: list[float]) -> tuple[float, float | None] | None:
    found = median_interval(seen)
    if found is None:
        return None
    low, high = found
    return low, None if bounds and min(bounds) <= high else high


def interval_ranks(n: int, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """The ranks (from 1) of the order statistics that bound the median with at least this confidence.

    Symmetric and the narrowest of these: the largest r with P(r ≤ B < n + 1 − r) ≥ confidence, B binomial(n, ½).
    None if even the extremes do not reach it (n ≤ 5 for 95 %). Makes no assumption about the distribution.
    """
    total = 2**n
    below = 0  # outcomes with B < r
    rank = None
    for r in range(1, n // 2 + 1):
        below += comb(n, r - 1)
        if 1 - 2 * below / total < confidence:
            break
        rank = r
    return None if rank is None else (rank, n + 1 - rank)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The exact order-statistic interval of the median; None below six values."""
    ranks = interval_ranks(len(values))
    if ranks is None:
        return None
    ordered = sorted(values)
    return ordered[ranks[0] - 1], ordered[ranks[1] - 1]


def wilson(p: float, n: float, z: float) -> tuple[float, float, float]:
    """(p, lower, upper): Wilson's score interval (1927)."""
    middle, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return p, (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
