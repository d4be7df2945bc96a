"""How long the probe has had no answer after an inject: a number of the status line only, in no report."""

from contract.messages import ProbeWait
from contract.records import GATEWAY, Outcome, RequestRecord


class AnswerWatch:
    """The time from the last inject's *commanded* to the first token of the probe's first answer by another tier.

    The request must be scheduled after *commanded*. With the gateway as target, any tier counts. This is not the report's
    failover, which begins where the target was *lost* and counts the users' requests too.
    """

    def __init__(self) -> None:
        self._commanded_at: float | None = None
        self._gone: set[str] = set()
        self.target: str | None = None  # of the last inject
        self.answered_s: float | None = None  # None: not yet

    def taken(self, at: float, target: str) -> None:
        """An inject was commanded."""
        self._commanded_at, self.target, self.answered_s = at, target, None
        self._gone.add(target)

    def returned(self, target: str) -> None:
        """Its restore was verified."""
        self._gone.discard(target)

    def answered(self, record: RequestRecord) -> None:
        """A request of the probe ended."""
        at = self._commanded_at
        if (
            at is None
            or record.outcome != Outcome.OK
            or record.scheduled_at <= at
            or record.tier in self._gone
        ):
            return
        assert record.sent_at is not None, "a good answer was sent"
        assert record.first_ms is not None, "a good answer has a first token"
        self.answered_s = record.sent_at + record.first_ms / 1000 - at
        self._commanded_at = None

    def status(self, now: float) -> ProbeWait | None:
        """For the status line. None: no inject yet."""
        if self.target is None:
            return None
        running = self._commanded_at is not None
        since_s = now - self._commanded_at if self._commanded_at is not None else self.answered_s
        assert since_s is not None, "an answer ended the wait"
        return ProbeWait(self.target, self.target == GATEWAY, since_s, answered=not running)
