"""What lies between two good answers: which asks were lost, and the gap as they bound it. Pure."""

from dataclasses import dataclass

from contract.records import Outcome

UNANSWERED = (Outcome.REFUSED, Outcome.REJECTED, Outcome.BROKEN, Outcome.TIMEOUT)
"""Nobody gave a token. Of what was cut, stalled or filtered somebody did: it is no good answer, and no outage."""


@dataclass(slots=True)
class Lost:
    """A request without a good answer."""

    sent_at: float
    outcome: str | None = None  # None: it was still waiting
    overdue: bool = True  # where it was: for longer than an answer takes

    @property
    def counts(self) -> bool:
        return self.outcome is not None or self.overdue

    @property
    def unanswered(self) -> bool:
        return self.outcome is None or self.outcome in UNANSWERED


@dataclass(slots=True)
class Silence:
    """What lies between the last good answer before, and the first good one after. Instants."""

    lost: dict[int, Lost]  # the requests between the two, by number
    before_at: float | None  # when the last good request before was sent; None: there was none
    sent_at: float  # when the request was sent that ended it
    first_at: float  # its first token

    @property
    def from_at(self) -> float:
        """When the first request was sent that was not answered as before."""
        return min([lost.sent_at for lost in self.lost.values() if lost.counts], default=self.sent_at)

    @property
    def empty(self) -> bool:
        """No request was lost."""
        return not any(lost.counts for lost in self.lost.values())

    @property
    def cut(self) -> bool:
        """Whether somebody answered one of them in part."""
        return any(lost.counts and not lost.unanswered for lost in self.lost.values())

    def waited_s(self) -> float:
        """What a user saw who asked again and again from that request on: until the first token of a good answer."""
        return self.first_at - self.from_at

    def gap_s(self, calm_s: float | None) -> tuple[float, float | None]:
        """The failover gap as [lower, upper], from the requests that bound it.

        Upper: the last good request before it sent → first token of the first good answer after; service was seen at both.
        None: nothing was seen before. Lower: the first lost ask sent → the last failed one sent; or, where the request that
        ended it waited longer than `calm_s` for its first token, that token less `calm_s`. `calm_s`: what 95 % of that
        tier's first tokens stayed within when nothing was lost; None: not known yet.
        """
        until = max(
            [lost.sent_at for lost in self.lost.values() if lost.outcome is not None], default=self.from_at
        )
        if calm_s is not None and self.first_at - calm_s > self.sent_at:
            until = max(until, self.first_at - calm_s)
        upper = None if self.before_at is None else self.first_at - self.before_at
        return max(0.0, until - self.from_at), upper
