"""By how much a worker's clock is ahead of the master's, from messages there and back (as NTP does it). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

DRIFT = 100e-6
"""By how much two clocks may part, in seconds a second: crystals are good to 50 millionths each."""


@dataclass(frozen=True, slots=True)
class Round:
    """One message to a worker and its answer: two instants of the master's clock, and two of the worker's between."""

    sent_at: float  # master
    heard_at: float  # worker
    answered_at: float  # worker
    back_at: float  # master

    @property
    def offset_s(self) -> float:
        """Right where both ways took the same; wrong by half of the difference where they did not."""
        return ((self.heard_at - self.sent_at) + (self.answered_at - self.back_at)) / 2

    @property
    def uncertainty_s(self) -> float:
        """Half of what was spent on the way: the whole of it may have been one way's."""
        return max(0.0, (self.back_at - self.sent_at) - (self.answered_at - self.heard_at)) / 2


def estimate(rounds: Iterable[Round], now: float, exact_s: float | None = None) -> tuple[float, float]:
    """(offset, uncertainty) in seconds at the instant `now`: that of the round that is the surest by now.

    A round's uncertainty grows with its age, since clocks drift; so an old quick one loses to a new slower one in the end.
    `exact_s`: what the offset is where both processes read one monotonic clock (one boot of one machine). It is taken,
    with no uncertainty, unless the round denies it: then there were two monotonic clocks after all.
    There must be a round.
    """

    def uncertainty_s(one: Round) -> float:
        return one.uncertainty_s + max(0.0, now - one.back_at) * DRIFT

    best = min(rounds, key=uncertainty_s)
    if exact_s is not None and abs(exact_s - best.offset_s) <= uncertainty_s(best):
        return exact_s, 0.0
    return best.offset_s, uncertainty_s(best)
