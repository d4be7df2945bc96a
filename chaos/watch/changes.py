"""Derives failovers, outages and recoveries, and the gap of each, from a sequence of requests. Pure.

Requests are numbered in the order in which they were sent. They may end in any order: a request counts only as long as no
later request has shown something else.
"""

from dataclasses import dataclass, field

from chaos.watch.lineup import Lineup
from chaos.watch.silence import UNANSWERED, Lost, Silence
from contract.quantile import quantile
from contract.records import Outcome, RequestRecord

PATIENCE_S = 10.0
PATIENCE_TIMES = 3.0
"""A request that waits longer than PATIENCE_S and than PATIENCE_TIMES the slowest good answer is an outage."""

OVERDUE_TIMES = 2.0
"""While others are answered, a waiting request is lost after this many times the p95 latency of the tier before. Until then it
may be in the middle of its answer."""

SLOW_AFTER_FAILOVER = 2
"""The first answers after a failover, which do not count as normal."""


@dataclass(slots=True)
class Failover:
    """A lower tier serves."""

    at: float
    n: int  # the request that showed it
    before: str
    to: str
    silence: Silence


@dataclass(slots=True)
class Outage:
    """No tier answers."""

    at: float
    n: int
    since_at: float  # when the first unanswered request was sent
    record: RequestRecord | None  # the failed one; None: the request hangs
    until_at: float | None = None  # the first token of the good answer that ended it


@dataclass(slots=True)
class Recovery:
    """A higher tier serves again, or the same one after an outage."""

    at: float
    n: int
    before: str | None  # the tier of the last good answer; None: there was none
    to: str | None  # None: the serving tier is unknown
    again: bool  # it had served before
    on: tuple[str, ...]  # the tiers that served in its place, and for how long
    on_s: float | None
    silence: Silence


Change = Failover | Outage | Recovery


@dataclass(slots=True)
class _Good:
    n: int = 0
    sent_at: float | None = None
    name: str | None = None  # the last known serving tier


@dataclass(slots=True)
class Changes:
    """Gets requests when they are sent and when they end; each call returns the change that it caused, or None."""

    lineup: Lineup
    all: list[Change] = field(default_factory=list)
    _waiting: dict[int, float] = field(default_factory=dict)
    _begun: set[int] = field(default_factory=set)  # those of them in the middle of their answers
    _lost: dict[int, Lost] = field(default_factory=dict)  # ended, and later than the last good one
    _good: _Good = field(default_factory=_Good)
    _outage: Outage | None = None
    _served: list[tuple[str, float]] = field(default_factory=list)  # tier, since when
    # Of each tier's good answers: sent at, seconds to the first token, to the end.
    _answers: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    _slowest_s: float = 0.0

    def sent(self, n: int, at: float) -> None:
        self._waiting[n] = at

    def begun(self, n: int) -> None:
        """Its first token has arrived: it no longer waits for an answer."""
        self._begun.add(n)

    def ended(self, n: int, record: RequestRecord) -> Change | None:
        """A request that the watch itself abandoned counts for nothing."""
        waiting_at = self._waiting.pop(n)
        self._begun.discard(n)
        if record.outcome == Outcome.ABANDONED:
            return None
        name = self.lineup.name(record)
        good = record.outcome == Outcome.OK
        self._revise(n, name, record)
        if good:
            return self._added(self._answered(n, record, name))
        if n < self._good.n:
            return None
        self._lost[n] = Lost(waiting_at if record.sent_at is None else record.sent_at, record.outcome)
        if record.outcome not in UNANSWERED or self._outage is not None:
            return None
        self._outage = Outage(self._lost[n].sent_at, n, self._unanswered_since(n), record)
        return self._added(self._outage)

    def looked(self, now: float) -> Change | None:
        """Check the time: a request that hangs is an outage too."""
        late = [(at, n) for n, at in self._waiting.items() if n > self._good.n and n not in self._begun]
        if self._outage is not None or not late:
            return None
        at, n = min(late)
        if now - at <= max(PATIENCE_S, PATIENCE_TIMES * self._slowest_s):
            return None
        self._outage = Outage(now, n, self._unanswered_since(n), None)
        return self._added(self._outage)

    def calm_s(self, name: str | None, silence: Silence) -> float | None:
        """The p95 of this tier's time to the first token in s, over good answers to requests sent after the silence.

        Without the first two: until the gateway stops trying the lost tier, several requests are slow. Without such answers,
        over the requests sent before the silence; None: there are none.
        """
        known = sorted(self._answers.get(name or "", []))
        before = [s for at, s, _ in known if at < silence.from_at]
        later = [s for at, s, _ in known if at > silence.first_at]
        return quantile(later[SLOW_AFTER_FAILOVER:] or before, 0.95)

    def gap_s(self, change: Failover | Recovery) -> tuple[float, float | None] | None:
        """As `Silence.gap_s`, by all answers so far of the tier that ended it. None: no request was lost."""
        if isinstance(change, Recovery) and change.on_s is not None and change.silence.empty:
            return None
        return change.silence.gap_s(self.calm_s(change.to, change.silence))

    def _answered(self, n: int, record: RequestRecord, name: str | None) -> Change | None:
        assert record.sent_at is not None, "a good answer was sent"
        assert record.first_ms is not None, "a good answer has a first token"
        first_s = record.first_ms / 1000
        first_at = record.sent_at + first_s
        before = self._good
        overtaken = n < before.n or any(m > n for m in self._lost)
        change = None
        if not overtaken:
            change = self._turned(n, name, self._silence(n, record.sent_at, first_at))
        as_before = self.lineup.place(name) == self.lineup.place(before.name)
        if n > before.n and (not overtaken or as_before):
            self._good = _Good(n, record.sent_at, name or before.name)
            self._lost = {m: lost for m, lost in self._lost.items() if m > n}
        latency_s = first_s if record.latency_ms is None else record.latency_ms / 1000
        self._answers.setdefault(name or "", []).append((record.sent_at, first_s, latency_s))
        self._slowest_s = max(self._slowest_s, latency_s)
        return change

    def _turned(self, n: int, name: str | None, silence: Silence) -> Change | None:
        """The change that this request, the latest one, shows."""
        outage, self._outage = self._outage, None
        if outage is not None:
            outage.until_at = silence.first_at
        before, at = self._good.name, silence.first_at
        was, now = self.lineup.place(before), self.lineup.place(name)
        last = self.lineup.place(self._served[-1][0]) if self._served else None
        if name is not None and now != last:  # tiers of one rank take turns, which is not a change
            self._served.append((name, at))
        if before is not None and name is not None and was is not None and now is not None and was != now:
            if now > was:
                return Failover(at, n, before, name, silence)
            on, since = self._instead(now)
            again = now in [self.lineup.place(tier) for tier, _ in self._served[:-1]]
            return Recovery(at, n, before, name, again, on, at - since, silence)
        if outage is not None:
            return Recovery(at, n, before, name, self._good.n > 0, (), None, silence)
        return None

    def _instead(self, place: int) -> tuple[tuple[str, ...], float]:
        """The tiers that have served behind that place until now, and since when."""
        on: list[str] = []
        since = self._served[-1][1]
        for name, at in reversed(self._served[:-1]):
            if (self.lineup.place(name) or 0) <= place:
                break
            since = at
            if name not in on:
                on.insert(0, name)
        return tuple(on), since

    def _silence(self, n: int, sent_at: float, first_at: float) -> Silence:
        lost = {m: lost for m, lost in self._lost.items() if m < n}
        taken = [latency_s for _, _, latency_s in self._answers.get(self._good.name or "", [])]
        patience_s = OVERDUE_TIMES * (quantile(taken, 0.95) or 0.0)
        lost |= {
            m: Lost(at, overdue=m not in self._begun and first_at - at > patience_s)
            for m, at in self._waiting.items()
            if self._good.n < m < n
        }
        return Silence(lost, self._good.sent_at, sent_at, first_at)

    def _unanswered_since(self, n: int) -> float:
        """When the first of the consecutive requests without a token was sent, up to this one."""
        waiting = {m: at for m, at in self._waiting.items() if m > self._good.n and m not in self._begun}
        requests = self._lost | {m: Lost(at) for m, at in waiting.items()}
        since = requests[n].sent_at
        for m in sorted((m for m in requests if m <= n), reverse=True):
            if not requests[m].unanswered:
                break
            since = requests[m].sent_at
        return since

    def _revise(self, n: int, name: str | None, record: RequestRecord) -> None:
        """A request that waited when a silence was reported has ended: it was not lost if the same tier answered it."""
        for change in self.all:
            if isinstance(change, Outage) or n not in change.silence.lost:
                continue
            if record.outcome == Outcome.OK and self.lineup.place(name) == self.lineup.place(change.before):
                del change.silence.lost[n]
            else:
                was = change.silence.lost[n]
                change.silence.lost[n] = Lost(
                    was.sent_at if record.sent_at is None else record.sent_at, record.outcome
                )

    def _added(self, change: Change | None) -> Change | None:
        if change is not None:
            self.all.append(change)
        return change
