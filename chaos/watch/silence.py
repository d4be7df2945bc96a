"""The time between two good answers: the lost requests, and the bounds of the gap. Pure."""

from dataclasses import dataclass

from contract.records import Outcome

UNANSWERED = (Outcome.REFUSED, Outcome.REJECTED, Outcome.BROKEN, Outcome.TIMEOUT)
"""Outcomes without a token. An answer that was cut, stalled or filtered had some: not a good answer, but not an outage."""


@dataclass(slots=True)
class Lost:
    """A request without a good answer."""

    sent_at: float
    outcome: str | None = None  # None: it was still waiting
    overdue: bool = True  # if still waiting: longer than an answer takes

    @property
    def counts(self) -> bool:
        return self.outcome is not None or self.overdue

    @property
    def unanswered(self) -> bool:
        return self.outcome is None or self.outcome in UNANSWERED


@dataclass(slots=True)
class Silence:
    """The time between the last good answer before and the first good answer after. Times in unix seconds."""

    lost: dict[int, Lost]  # the requests between the two, by number
    before_at: float | None  # when the last good request before was sent; None: there was none
    sent_at: float  # when the request that ended it was sent
    first_at: float  # its first token

    @property
    def from_at(self) -> float:
        """When the first lost request was sent."""
        return min([lost.sent_at for lost in self.lost.values() if lost.counts], default=self.sent_at)

    @property
    def empty(self) -> bool:
        """No request was lost."""
        return not any(lost.counts for lost in self.lost.values())

    @property
    def cut(self) -> bool:
        """Whether one of them was answered in part."""
        return any(lost.counts and not lost.unanswered for lost in self.lost.values())

    def waited_s(self) -> float:
        """The wait of a user who retried from that request on, until the first token of a good answer."""
        return self.first_at - self.from_at

    def gap_s(self, calm_s: float | None) -> tuple[float, float | None]:
        """The failover gap as [lower, upper], from the requests that bound it.

        Upper: the last good request before it sent → first token of the first good answer after; a tier served at both.
        None: no good answer before. Lower: the first lost request sent → the last failed one sent; or, where the request
        that ended it waited longer than `calm_s` for its first token, that token minus `calm_s`. `calm_s`: the p95 of that
        tier's time to the first token without losses; None: unknown so far.
        """
        until = max(
            [lost.sent_at for lost in self.lost.values() if lost.outcome is not None], default=self.from_at
        )
        if calm_s is not None and self.first_at - calm_s > self.sent_at:
            until = max(until, self.first_at - calm_s)
        upper = None if self.before_at is None else self.first_at - self.before_at
        return max(0.0, until - self.from_at), upper
