"""What the run looks like right now, for the one live line: how long users have been, or were, without an answer."""

from contract.records import Ask, Outcome


class FailoverWatch:
    """The live figure only; the report's comes from the records, by the definitions of the analysis."""

    def __init__(self) -> None:
        self._commanded_at: float | None = None
        self._targets: set[str] = set()
        self.last_s: float | None = None

    def taken(self, at: float, target: str) -> None:
        """An inject was commanded."""
        self._commanded_at = at
        self._targets.add(target)

    def returned(self, target: str) -> None:
        self._targets.discard(target)

    def answered(self, ask: Ask) -> None:
        """An ask of the probe ended."""
        at = self._commanded_at
        if at is None or ask.outcome != Outcome.OK or ask.intended_at <= at or ask.tier in self._targets:
            return
        assert ask.sent_at is not None, "a good answer was sent"
        assert ask.first_ms is not None, "a good answer came"
        self.last_s = ask.sent_at + ask.first_ms / 1000 - at
        self._commanded_at = None

    def current_s(self, now: float) -> float | None:
        """Seconds since a tier was taken away while no other has answered; None: one has."""
        return None if self._commanded_at is None else now - self._commanded_at
