"""What a sequence of requests says of the tiers: failovers, outages, recoveries, and the gap of each. Pure.

Requests are known by their number, in the order in which they were sent. They may end in any order: what a request says is
believed only as long as no request sent after it has said something else.
"""

from dataclasses import dataclass, field

from chaos.watch.lineup import Lineup
from chaos.watch.silence import UNANSWERED, Lost, Silence
from contract.quantile import quantile
from contract.records import Outcome, RequestRecord

PATIENCE_S = 10.0
PATIENCE_TIMES = 3.0
"""A request that has waited for longer than that, and than so many times the slowest good answer, is an outage already."""

OVERDUE_TIMES = 2.0
"""While others are answered, a request that waits is lost when it has waited for so many times what 95 % of the answers of
the tier before took; until then it may well be in the middle of its answer."""

PAYING = 2
"""Of the answers after a failover the first so many are not taken for calm."""


@dataclass(slots=True)
class Failover:
    """A tier further back serves."""

    at: float
    n: int  # the request that showed it
    before: str
    to: str
    silence: Silence


@dataclass(slots=True)
class Outage:
    """Nobody answers."""

    at: float
    n: int
    since_at: float  # when the first request was sent that nobody answered
    record: RequestRecord | None  # the failed one; None: it only waits
    until_at: float | None = None  # the first token of the good answer that ended it


@dataclass(slots=True)
class Recovery:
    """A tier further ahead serves again, or the same one after an outage."""

    at: float
    n: int
    before: str | None  # who gave the last good answer; None: there was none
    to: str | None  # None: nobody tells who serves
    again: bool  # it had been seen to serve before
    on: tuple[str, ...]  # who served in its place, and for how long
    on_s: float | None
    silence: Silence


Change = Failover | Outage | Recovery


@dataclass(slots=True)
class _Good:
    n: int = 0
    sent_at: float | None = None
    name: str | None = None  # who was last told to serve


@dataclass(slots=True)
class Changes:
    """Fed with asks as they are sent and as they end; each tells the change that it made, if it made one."""

    lineup: Lineup
    all: list[Change] = field(default_factory=list)
    _waiting: dict[int, float] = field(default_factory=dict)
    _begun: set[int] = field(default_factory=set)  # of those the ones in the middle of their answers
    _lost: dict[int, Lost] = field(default_factory=dict)  # ended, and later than the last good one
    _good: _Good = field(default_factory=_Good)
    _outage: Outage | None = None
    _served: list[tuple[str, float]] = field(default_factory=list)  # who, from when on
    # Of each tier's good answers: sent at, seconds to the first token, to the end.
    _answers: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)
    _slowest_s: float = 0.0

    def asked(self, n: int, at: float) -> None:
        self._waiting[n] = at

    def begun(self, n: int) -> None:
        """Its first token is there: it does not wait for somebody who answers."""
        self._begun.add(n)

    def ended(self, n: int, record: RequestRecord) -> Change | None:
        """A request that was abandoned by ourselves says nothing."""
        asked_at = self._waiting.pop(n)
        self._begun.discard(n)
        if record.outcome == Outcome.ABANDONED:
            return None
        name = self.lineup.name(record)
        good = record.outcome == Outcome.OK
        self._revise(n, name, record)
        if good:
            return self._told(self._answered(n, record, name))
        if n < self._good.n:
            return None
        self._lost[n] = Lost(asked_at if record.sent_at is None else record.sent_at, record.outcome)
        if record.outcome not in UNANSWERED or self._outage is not None:
            return None
        self._outage = Outage(self._lost[n].sent_at, n, self._nobody_since(n), record)
        return self._told(self._outage)

    def looked(self, now: float) -> Change | None:
        """Time goes by: a request that only hangs is an outage too."""
        late = [(at, n) for n, at in self._waiting.items() if n > self._good.n and n not in self._begun]
        if self._outage is not None or not late:
            return None
        at, n = min(late)
        if now - at <= max(PATIENCE_S, PATIENCE_TIMES * self._slowest_s):
            return None
        self._outage = Outage(now, n, self._nobody_since(n), None)
        return self._told(self._outage)

    def calm_s(self, name: str | None, silence: Silence) -> float | None:
        """What 95 % of this tier's first tokens stayed within, of its good answers to requests sent when the silence was over.

        Less the first two: until the gateway has given the lost tier up, several requests pay for the loss. Where there is none, of
        the answers to requests sent before it; None: there are none.
        """
        known = sorted(self._answers.get(name or "", []))
        before = [s for at, s, _ in known if at < silence.from_at]
        later = [s for at, s, _ in known if at > silence.first_at]
        return quantile(later[PAYING:] or before, 0.95)

    def gap_s(self, change: Failover | Recovery) -> tuple[float, float | None] | None:
        """As `Silence.gap_s`, by all that is known by now of who ended it. None: no request was lost."""
        if isinstance(change, Recovery) and change.on_s is not None and change.silence.empty:
            return None
        return change.silence.gap_s(self.calm_s(change.to, change.silence))

    def _answered(self, n: int, record: RequestRecord, name: str | None) -> Change | None:
        assert record.sent_at is not None, "a good answer was sent"
        assert record.first_ms is not None, "a good answer came"
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
        """This request is the latest word: what does it change?"""
        outage, self._outage = self._outage, None
        if outage is not None:
            outage.until_at = silence.first_at
        before, at = self._good.name, silence.first_at
        was, now = self.lineup.place(before), self.lineup.place(name)
        last = self.lineup.place(self._served[-1][0]) if self._served else None
        if name is not None and now != last:  # peers take turns, and that changes nothing
            self._served.append((name, at))
        if before is not None and name is not None and was is not None and now is not None and was != now:
            if now > was:
                return Failover(at, n, before, name, silence)
            on, since = self._instead(now)
            again = now in [self.lineup.place(who) for who, _ in self._served[:-1]]
            return Recovery(at, n, before, name, again, on, at - since, silence)
        if outage is not None:
            return Recovery(at, n, before, name, self._good.n > 0, (), None, silence)
        return None

    def _instead(self, place: int) -> tuple[tuple[str, ...], float]:
        """Who has served behind that place until now, and since when."""
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

    def _nobody_since(self, n: int) -> float:
        """When the first of the requests in a row was sent, up to this one, that nobody gave a token to."""
        waiting = {m: at for m, at in self._waiting.items() if m > self._good.n and m not in self._begun}
        requests = self._lost | {m: Lost(at) for m, at in waiting.items()}
        since = requests[n].sent_at
        for m in sorted((m for m in requests if m <= n), reverse=True):
            if not requests[m].unanswered:
                break
            since = requests[m].sent_at
        return since

    def _revise(self, n: int, name: str | None, record: RequestRecord) -> None:
        """What was waiting when a silence was told has ended: it was not lost if it was answered as before."""
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

    def _told(self, change: Change | None) -> Change | None:
        if change is not None:
            self.all.append(change)
        return change
