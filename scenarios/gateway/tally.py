"""How many asks there were and what became of them: a few numbers for the live line and the client's watch."""

from collections import Counter
from dataclasses import dataclass, field

from contract.records import Ask


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers at one instant."""

    asked: int
    in_flight: int
    by_outcome: dict[str, int]
    by_tier: dict[str, int]  # only answers whose tier is known


@dataclass(slots=True)
class Tally:
    """Counts. Keeps no record."""

    asked: int = 0
    kept: int = 0
    by_outcome: Counter[str] = field(default_factory=Counter)
    by_tier: Counter[str] = field(default_factory=Counter)

    def began(self) -> None:
        self.asked += 1

    def ended(self, ask: Ask) -> None:
        self.kept += 1
        self.by_outcome[str(ask.outcome)] += 1
        if ask.tier is not None:
            self.by_tier[ask.tier] += 1

    def snapshot(self) -> Snapshot:
        return Snapshot(self.asked, self.asked - self.kept, dict(self.by_outcome), dict(self.by_tier))
