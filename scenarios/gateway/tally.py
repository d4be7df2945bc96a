"""Counts of requests and their outcomes, for the status line and the client sampler."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from contract import gateway_version
from contract.records import Outcome, RequestRecord, of_users


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers at one instant."""

    scheduled: int  # above sent + dropped: arrivals that are due and not yet sent
    sent: int
    dropped: int  # arrivals over the cap on requests in flight; no request was sent
    in_flight: int
    by_outcome: dict[str, int]
    by_tier: dict[str, int]  # only answers with a known tier
    # by outcome, of the users' requests (through the gateway) alone
    users: dict[str, int] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)  # good ones among `users`, by tier
    by_version: dict[str, int] = field(default_factory=dict)  # only answers that state the gateway's version

    @property
    def others(self) -> dict[str, int]:
        """All other requests by outcome: directly to a tier, and pairs that measure the gateway's overhead."""
        left = {outcome: n - self.users.get(outcome, 0) for outcome, n in self.by_outcome.items()}
        return {outcome: n for outcome, n in left.items() if n}

    @property
    def good_and_bad(self) -> tuple[int, int]:
        """Of the users' requests; abandoned ones are neither. Requests sent directly to a tier that is down do not affect users."""
        good = self.users.get(Outcome.OK, 0)
        return good, sum(self.users.values()) - good - self.users.get(Outcome.ABANDONED, 0)


@dataclass(slots=True)
class Tally:
    """Counters; stores no records."""

    scheduled: int = 0
    sent: int = 0
    dropped: int = 0
    kept: int = 0
    by_outcome: Counter[str] = field(default_factory=Counter)
    by_tier: Counter[str] = field(default_factory=Counter)
    users: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    by_version: dict[str, int] = field(default_factory=dict)
    late_s: list[float] = field(default_factory=list)  # of requests sent since the list was last emptied

    def due(self) -> None:
        """An arrival of the open loop has come due."""
        self.scheduled += 1

    def drop(self) -> None:
        """This arrival was dropped by the cap on requests in flight."""
        self.dropped += 1

    def began(self, arrived: bool) -> None:
        """A request is sent. `arrived`: by an arrival, which `due` has counted already; else by a user of a closed loop."""
        self.sent += 1
        self.scheduled += not arrived

    def sent_late(self, late_s: float) -> None:
        self.late_s.append(late_s)

    def ended(self, record: RequestRecord) -> None:
        self.kept += 1
        self.by_outcome[str(record.outcome)] += 1
        if record.tier is not None:
            self.by_tier[record.tier] += 1
        if of_users(record.lane, record.via):
            self.users[str(record.outcome)] += 1
            if record.outcome == Outcome.OK and record.tier is not None:
                self.served[record.tier] += 1

    def named(self, version: str | None) -> None:
        """An answer stated this version of the gateway; None: it stated none."""
        if version is not None:
            gateway_version.count(self.by_version, version)

    def snapshot(self) -> Snapshot:
        return Snapshot(
            self.scheduled,
            self.sent,
            self.dropped,
            self.sent - self.kept,
            dict(self.by_outcome),
            dict(self.by_tier),
            dict(self.users),
            dict(self.served),
            dict(self.by_version),
        )


class Tallies:
    """The latest tallies of several workers."""

    def __init__(self) -> None:
        self._of: dict[str, Snapshot] = {}

    def update(self, worker: str, snapshot: Snapshot) -> None:
        self._of[worker] = snapshot

    def snapshot(self) -> Snapshot:
        all_ = list(self._of.values())

        def together(counts: Callable[[Snapshot], dict[str, int]]) -> dict[str, int]:
            return dict(sum((Counter(counts(one)) for one in all_), Counter()))

        by_version: dict[str, int] = {}
        for one in all_:
            for version, answers in one.by_version.items():
                gateway_version.count(by_version, version, answers)
        return Snapshot(
            sum(one.scheduled for one in all_), sum(one.sent for one in all_), sum(one.dropped for one in all_),
            sum(one.in_flight for one in all_), together(lambda s: s.by_outcome), together(lambda s: s.by_tier),
            together(lambda s: s.users), together(lambda s: s.served), by_version,
        )  # fmt: skip
