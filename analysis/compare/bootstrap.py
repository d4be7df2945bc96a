"""The random variation of a number of one run, by a bootstrap over blocks of time. Pure, seeded.

Answers of one run are not independent: those under way together wait for one another. So whole blocks of time are
resampled, never single answers.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from contract.quantile import rank

BOOTSTRAPS = 1000
KEPT = 101  # quantiles kept of the bootstrap's distribution
GRID = 1000  # values that a resampled quantile can have
LEAST_BLOCK_S, MOST_BLOCKS, LATENCIES = 5.0, 200, 2.0
MIN_PARTS = 6  # fewer parts do not show their random variation


def block_s(duration_s: float, p95_latency_s: float) -> float:
    """The length of a block of time in seconds: 5 s, or twice the p95 latency if that is longer.

    Answers that waited in the same queue are then mostly in one block. A long run has at most 200 blocks.
    """
    return max(LEAST_BLOCK_S, duration_s / MOST_BLOCKS, LATENCIES * p95_latency_s)


def resampled_quantiles(
    values: np.ndarray, block: np.ndarray, at: Sequence[float], seed: int
) -> list[np.ndarray]:
    """The block bootstrap of quantiles: for each of `at`, its values in 1000 resamples of the blocks.

    Blocks are drawn with replacement, each with all its values (Künsch 1989; blocks that do not overlap: Carlstein 1986). Above
    1000 values a resampled quantile is rounded up to one of 1000 observed ones, denser in the upper tail.
    """
    grid = _grid(values)
    _, place = np.unique(block, return_inverse=True)
    blocks = int(place.max()) + 1
    held = np.bincount(place * len(grid) + np.searchsorted(grid, values), minlength=blocks * len(grid))
    up_to = np.cumsum(held.reshape(blocks, len(grid)), axis=1).astype(float)
    came = _draw(blocks, seed) @ up_to
    total = came[:, -1]
    found = []
    for q in at:
        needed = np.array([rank(round(n), q) + 1 for n in total.tolist()])
        found.append(grid[np.argmax(came >= needed[:, None] - 1e-6, axis=1)])
    return found


def resampled_rate(amount: np.ndarray, length: np.ndarray, seed: int) -> np.ndarray:
    """The block bootstrap of a rate: sum of amounts ÷ sum of lengths over the resampled blocks."""
    drawn = _draw(len(amount), seed)
    lengths = drawn @ length
    kept = lengths > 0
    return (drawn @ amount)[kept] / lengths[kept]


def design_effect(hits: np.ndarray, total: np.ndarray) -> float:
    """By how much larger the variance of a proportion is than that of independent requests; at least 1 (Kish 1965).

    Failures come in bursts. Computed over blocks of time: the linearised variance of hits ÷ total between blocks, divided by
    p (1 − p) / n.
    """
    n, g = float(total.sum()), len(total)
    p = float(hits.sum()) / n if n else 0.0
    if g < 2 or p in (0.0, 1.0):
        return 1.0
    between = g / (g - 1) * float(((hits - p * total) ** 2).sum()) / n**2
    return max(1.0, between / (p * (1 - p) / n))


def kept(again: np.ndarray) -> tuple[float, ...]:
    """The distribution as KEPT evenly spaced quantiles, without its extremes."""
    return tuple(float(x) for x in np.quantile(again, (np.arange(KEPT) + 0.5) / KEPT))


@lru_cache(maxsize=8)  # most metrics of a run have the same blocks; at most 1.6 MB each
def _draw(parts: int, seed: int) -> np.ndarray:
    """How often each part is in each resample. Cached: do not modify."""
    drawn = np.random.default_rng(seed).multinomial(parts, np.full(parts, 1 / parts), BOOTSTRAPS)
    return drawn.astype(float)


def _grid(values: np.ndarray) -> np.ndarray:
    if len(values) <= GRID:
        return np.unique(values)
    shares = np.concatenate([np.linspace(0, 0.9, GRID // 2), 1 - 0.1 * np.linspace(1, 0, GRID // 2) ** 2])
    return np.unique(np.sort(values)[[rank(len(values), share) for share in shares.tolist()]])
