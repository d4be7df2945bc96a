"""The difference between two runs' numbers, its 95 % interval and its p-value. Pure.

Each function's docstring is the definition. B − A throughout: A is the baseline.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, erfc, inf, isfinite, sqrt
from statistics import NormalDist

import numpy as np
from scipy import special, stats

from analysis.compare.bootstrap import MIN_PARTS
from analysis.compare.estimate import Estimate, Proportion, Trials
from analysis.metrics.trials import wilson

CONFIDENCE = 0.95
POWER = 0.8
EXACT_UP_TO = 20_000  # permutations; of more, this many are sampled
LARGE = 50  # trials
# For single numbers; scipy.stats creates arrays, which takes a hundred times as long.
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Difference:
    """B − A. `p`: two-sided, for the hypothesis of no difference."""

    value: float
    low: float
    high: float
    p: float
    method: str


def of_estimates(a: Estimate, b: Estimate) -> Difference:
    """The difference of two quantiles, rates or medians of pairs, by the bootstrap of each.

    The interval: the 2.5 and 97.5 % quantiles of all differences of the two kept distributions, stretched about the difference by
    Student's t over the normal quantile and √(parts / (parts − 1)), since few parts underestimate the variance (Hesterberg 2015).
    p: Student's t of the difference over its standard error, with Welch's degrees of freedom over the parts (blocks of time, or
    pairs). For a p50, p is the larger of that and Mann–Whitney's over the medians of the blocks, since the blocks and not the
    answers are assumed independent.
    """
    value = b.value - a.value
    shrunk = [e.parts / (e.parts - 1) for e in (a, b)]
    variance = [e.se**2 * s for e, s in zip((a, b), shrunk, strict=True)]
    se = sqrt(sum(variance))
    drawn = np.subtract.outer(np.array(b.again), np.array(a.again)).ravel()
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(x) for x in np.quantile(drawn, [tail, 1 - tail]))
    if se == 0:
        p = 1.0 if value == 0 else 0.0
    else:
        free = se**4 / sum(v**2 / (e.parts - 1) for v, e in zip(variance, (a, b), strict=True))
        stretch = float(special.stdtrit(free, 1 - tail)) / _NORMAL.inv_cdf(1 - tail) * sqrt(max(shrunk))
        low, high = value - stretch * (value - low), value + stretch * (high - value)
        p = 2 * float(special.stdtr(free, -abs(value) / se))
    method = "block bootstrap"
    if a.medians and b.medians:
        p, method = max(p, _mann_whitney(a.medians, b.medians)), "block bootstrap, Mann–Whitney over blocks"
    return Difference(value, min(low, value), max(high, value), p, method)


def of_trials(a: Trials, b: Trials) -> Difference:
    """The difference of repeated trials: how much longer those of B are, without an assumption on their distribution.

    It is the Hodges–Lehmann estimate: the median of all differences of a trial of B and one of A. Its interval has the shifts that
    the Mann–Whitney test does not reject (Moses; Hollander and Wolfe 1999, 4.3), exact up to 50 trials. p is that test's: exact,
    by permutation if there are ties. A censored trial is evaluated at its bound and at infinity, each time against a difference,
    so that the interval is valid whatever its true value.
    """
    short_a, long_a = _bounds(a)
    short_b, long_b = _bounds(b)
    value = float(np.median(np.subtract.outer(short_b, short_a)))
    low = _shift(long_a, short_b)[0]
    high = _shift(short_a, long_b)[1]
    ends = (
        (long_a, short_b),
        (short_a, long_b),
    )  # the strongest evidence for B being shorter, and for its being longer
    shifts = {np.sign(np.median(np.subtract.outer(y, x))) for x, y in ends}
    p = max(_mann_whitney(x, y) for x, y in ends) if len(shifts) == 1 else 1.0
    return Difference(value, low, high, p, "Mann–Whitney, Hodges–Lehmann")


def of_proportions(a: Proportion, b: Proportion) -> Difference:
    """The difference of two proportions: Newcombe's hybrid score interval (1998, method 10), from Wilson's for each.

    Failures come in bursts, so the number of requests of each is divided by the larger of the two design effects
    (`bootstrap.design_effect`). p is the level at which that interval touches 0.
    """
    effect = max(a.design_effect, b.design_effect)
    value = b.hits / b.total - a.hits / a.total

    def interval(z: float) -> tuple[float, float]:
        (pa, la, ua), (pb, lb, ub) = (wilson(x.hits / x.total, x.total / effect, z) for x in (a, b))
        return (
            value - sqrt((pb - lb) ** 2 + (ua - pa) ** 2),
            value + sqrt((ub - pb) ** 2 + (pa - la) ** 2),
        )

    low, high = interval(_NORMAL.inv_cdf(0.5 + CONFIDENCE / 2))
    return Difference(value, low, high, _touches(interval, value), "Newcombe")


def would_have_seen(found: Difference, alpha: float) -> float:
    """The difference that would have been found with a power of 80 % at the level `alpha`; from the interval's wider half.

    If no difference is found, this is the resolution of the comparison: equality is not claimed.
    """
    half = max(found.value - found.low, found.high - found.value)
    z = _NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(POWER)
    return half * z / _NORMAL.inv_cdf(0.5 + CONFIDENCE / 2) if isfinite(half) else inf


def trials_needed(alpha: float) -> int:
    """How many trials in each run the exact test needs to reach this level: 2 / C(2n, n) ≤ alpha."""
    return next(n for n in range(2, 1000) if 2 / comb(2 * n, n) <= alpha)


def parts_needed() -> int:
    return MIN_PARTS


def holm(ps: Sequence[float]) -> list[float]:
    """Each p, corrected for the number of comparisons made at once (Holm 1979).

    The smallest is multiplied by their count, the next by one less, and so on, never below the one before. If nothing differs,
    any difference is then found in at most one of twenty comparisons of runs.
    """
    out, least = [1.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        least = max(least, min(1.0, ps[i] * (len(ps) - rank)))
        out[i] = least
    return out


def _bounds(trials: Trials) -> tuple[np.ndarray, np.ndarray]:
    """(all trials at their values, the same with the censored ones at infinity)."""
    values = np.array(trials.values, float)
    return values, np.where(trials.censored, inf, values)


def _shift(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The interval of Moses: the k-th smallest and the k-th largest difference, k from the test's distribution."""
    between = np.sort(np.subtract.outer(b, a).ravel())
    k = _rank(len(a), len(b))
    return (-inf, inf) if k < 1 else (float(between[k - 1]), float(between[-k]))


def _rank(n: int, m: int) -> int:
    """The largest k with P(U ≤ k − 1) ≤ 2.5 %, U Mann and Whitney's under no difference; 0 if there is none."""
    tail = (1 - CONFIDENCE) / 2
    if max(n, m) > LARGE:  # the normal approximation
        return int(n * m / 2 - _NORMAL.inv_cdf(1 - tail) * sqrt(n * m * (n + m + 1) / 12))
    ways = [1] + [0] * (n * m)  # the Gaussian binomial's coefficients: in how many orders U has each value
    for i in range(1, m + 1):
        for u in range(n * m, n + i - 1, -1):
            ways[u] -= ways[u - n - i]
        for u in range(i, n * m + 1):
            ways[u] += ways[u - i]
    below, k = 0, 0
    while (below + ways[k]) / comb(n + m, n) <= tail:
        below += ways[k]
        k += 1
    return k


def _mann_whitney(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Two-sided p for no shift."""
    ranks = stats.rankdata(np.concatenate([a, b]))  # infinities rank as the longest
    a, b = ranks[: len(a)], ranks[len(a) :]
    different = len(np.unique(ranks))
    if different == 1:
        return 1.0
    if max(len(a), len(b)) > LARGE:
        return float(stats.mannwhitneyu(b, a, method="asymptotic").pvalue)
    if different == len(ranks):
        return float(stats.mannwhitneyu(b, a, method="exact").pvalue)
    # U is the sum of b's ranks plus a constant: the same p as mannwhitneyu's with a PermutationMethod, which ranks each
    # permutation again.
    permuted = stats.permutation_test(
        (b, a), lambda b, a, axis: b.sum(axis=axis), vectorized=True, n_resamples=EXACT_UP_TO,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(permuted.pvalue)


def _touches(interval: Callable[[float], tuple[float, float]], value: float) -> float:
    """The two-sided p at which an interval that grows with z first includes 0."""
    if value == 0:
        return 1.0
    least, most = 0.0, 40.0
    for _ in range(60):
        middle = (least + most) / 2
        low, high = interval(middle)
        least, most = (least, middle) if low <= 0 <= high else (middle, most)
    return erfc(least / sqrt(2))
