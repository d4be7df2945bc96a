"""How many asks there were and what became of them: a few numbers for the live line and the client's watch."""

from collections import Counter
from dataclasses import dataclass, field

from contract.records import Ask


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers at one instant."""

    wanted: int  # more than asked and capped together: arrivals that are due and not begun yet
    asked: int
    capped: int  # arrivals that the cap refused; no ask was made
    in_flight: int
    by_outcome: dict[str, int]
    by_tier: dict[str, int]  # only answers whose tier is known


@dataclass(slots=True)
class Tally:
    """Counts. Keeps no record."""

    wanted: int = 0
    asked: int = 0
    capped: int = 0
    kept: int = 0
    by_outcome: Counter[str] = field(default_factory=Counter)
    by_tier: Counter[str] = field(default_factory=Counter)
    late_s: list[float] = field(default_factory=list)  # of the asks sent since it was last emptied

    def due(self) -> None:
        """An arrival of the open loop has come due."""
        self.wanted += 1

    def refused(self) -> None:
        """The cap let this arrival make no ask."""
        self.capped += 1

    def began(self, arrived: bool) -> None:
        """An ask is made; by an arrival, which was wanted already, or of a user's own accord."""
        self.asked += 1
        self.wanted += not arrived

    def sent(self, late_s: float) -> None:
        self.late_s.append(late_s)

    def ended(self, ask: Ask) -> None:
        self.kept += 1
        self.by_outcome[str(ask.outcome)] += 1
        if ask.tier is not None:
            self.by_tier[ask.tier] += 1

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.wanted,
            self.asked,
            self.capped,
            self.asked - self.kept,
            dict(self.by_outcome),
            dict(self.by_tier),
        )


class Tallies:
    """Those of several workers, as each told last."""

    def __init__(self) -> None:
        self._of: dict[str, Snapshot] = {}

    def tell(self, worker: str, snapshot: Snapshot) -> None:
        self._of[worker] = snapshot

    def snapshot(self) -> Snapshot:
        all_ = list(self._of.values())
        by_outcome: Counter[str] = Counter()
        by_tier: Counter[str] = Counter()
        for one in all_:
            by_outcome.update(one.by_outcome)
            by_tier.update(one.by_tier)
        return Snapshot(
            sum(one.wanted for one in all_), sum(one.asked for one in all_), sum(one.capped for one in all_),
            sum(one.in_flight for one in all_), dict(by_outcome), dict(by_tier),
        )  # fmt: skip
