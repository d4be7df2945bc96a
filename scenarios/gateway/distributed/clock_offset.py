"""Estimates how far a worker's clock is ahead of the master's, from round trips of messages (like NTP). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

DRIFT = 100e-6
"""Assumed drift between two clocks, in seconds per second: crystals are accurate to 50 ppm each."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round trip to a worker: two times of the master's clock, with two of the worker's clock between them."""

    sent_at: float  # master
    heard_at: float  # worker
    answered_at: float  # worker
    back_at: float  # master

    @property
    def offset_s(self) -> float:
        """Exact if both directions took equally long; else wrong by half of the difference."""
        return ((self.heard_at - self.sent_at) + (self.answered_at - self.back_at)) / 2

    @property
    def uncertainty_s(self) -> float:
        """Half of the travel time: all of it may have been in one direction."""
        return max(0.0, (self.back_at - self.sent_at) - (self.answered_at - self.heard_at)) / 2


def estimate(rounds: Iterable[Round], now: float, exact_s: float | None = None) -> tuple[float, float]:
    """(offset, uncertainty) in seconds at `now`: from the round that is the most certain by now.

    A round's uncertainty grows with its age, since clocks drift; so a new slow round eventually replaces an old quick one.
    `exact_s`: the offset if both processes read one monotonic clock (one boot of one machine). It is used with uncertainty 0
    unless the best round contradicts it: then there are two monotonic clocks. `rounds` must not be empty.
    """

    def uncertainty_s(one: Round) -> float:
        return one.uncertainty_s + max(0.0, now - one.back_at) * DRIFT

    best = min(rounds, key=uncertainty_s)
    if exact_s is not None and abs(exact_s - best.offset_s) <= uncertainty_s(best):
        return exact_s, 0.0
    return best.offset_s, uncertainty_s(best)
