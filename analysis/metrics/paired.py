"""The difference of two tiers' shares of right answers to the same documents, with its interval. Pure."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

from analysis.metrics.trials import wilson

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_EDGE = 1e-12  # distance from −1 and 1, where a difference has no variance
_MOST = 100_000  # pairs: more are not practical


@dataclass(frozen=True, slots=True)
class Paired:
    """Of `n` pairs: in `gained` only the second was right, in `lost` only the first; in the others both or neither."""

    gained: int
    lost: int
    n: int

    @property
    def difference(self) -> float:
        """The second's share of right answers minus the first's."""
        return (self.gained - self.lost) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        return score_interval(self.gained, self.lost, self.n)


def share_interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (Wilson 1927, JASA 22:209-212): within [0, 1], with a width above 0 at either end."""
    _, low, high = wilson(hits / n, n, _Z)
    return (0.0 if hits == 0 else low), (1.0 if hits == n else high)


def score_interval(gained: float, lost: float, n: float) -> tuple[float, float]:
    """Tango's 95 % score interval of a difference of paired shares (Tango 1998, Statistics in Medicine 17:891-908).

    All differences δ that the score test does not reject: |gained − lost − nδ| ≤ z √(n (2q + δ(1 − δ))), where q is the maximum
    likelihood share of the lost if the difference is δ. It stays within [−1, 1]. If no pair differs it is ± z² / (n + z²): few
    pairs without a difference show little.
    """
    # Imported here: it takes most of a second, and only documents need it.
    from scipy.optimize import brentq

    assert n > 0
    assert 0 <= gained + lost <= n + 1e-9
    d = (gained - lost) / n

    def beyond(delta: float, side: int) -> float:
        return side * _score(delta, gained, lost, n) - _Z

    low = -1.0 if lost >= n else brentq(beyond, _EDGE - 1, d, args=(1,))
    high = 1.0 if gained >= n else brentq(beyond, d, 1 - _EDGE, args=(-1,))
    return float(low), float(high)


def _score(delta: float, gained: float, lost: float, n: float) -> float:
    """How many standard deviations the difference lies above `delta`; 0 if equal."""
    above = gained - lost - n * delta
    b = (2 * n - gained + lost) * delta - gained - lost
    c = -lost * delta * (1 - delta)
    q = (sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * q + delta * (1 - delta))
    return above / sqrt(variance) if variance > 0 else 0.0


def pairs_to_decide(found: Paired, least: float) -> int | None:
    """About how many pairs would decide on which side of `least` the difference lies, with the same shares.

    The smallest number whose interval excludes `least`; None if even a hundred thousand does not.
    """
    gained, lost = found.gained / found.n, found.lost / found.n

    def decides(n: int) -> bool:
        low, high = score_interval(gained * n, lost * n, n)
        return low > least or high < least

    if not decides(_MOST):
        return None
    few, enough = 0, _MOST
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if decides(middle) else (middle, enough)
    return enough
