"""Once a second, the state of a load generator. In seconds in which it was late, its numbers are not valid."""

from dataclasses import dataclass

from contract.quantile import quantile
from contract.sampler import Given, Process, Sampler, Source

EVERY_S = 1.0


@dataclass(slots=True)
class Client:
    """One row: the state of the load generator in this second."""

    at: float  # the end of the second of this row
    worker: str | None
    cpu_percent: float  # of one core, this process alone
    hub_lag_ms: float  # p99 of the time that an event at a random instant of this second waited for the hub
    users: int
    scheduled: (
        int  # requests scheduled: in an open loop the arrivals that were due, in a closed one those sent
    )
    sent: int  # requests begun
    dropped: int  # arrivals dropped by the cap on requests in flight
    late_ms: (
        float | None
    )  # p99 of sent_at − scheduled_at over the requests sent in this second; None: none was
    in_flight: int


class _Seconds:
    """Each row covers the time since the previous one; the first sample only starts the first period."""

    def __init__(self, given: Given) -> None:
        assert given.load is not None, "it samples a process that sends requests"
        self._load, self._clock = given.load, given.clock
        self._load.cpu_percent()  # the first call only starts the period
        self._begun = False
        self._before = self._load.tally.snapshot()

    def rows(self) -> list[Client]:
        if not self._begun:
            self._begun = True
            return []
        return [self._row()]

    def last(self) -> list[Client]:
        """A row for the last, incomplete second."""
        now, before = self._load.tally.snapshot(), self._before
        counted = (now.scheduled, now.sent, now.dropped) != (before.scheduled, before.sent, before.dropped)
        return [self._row()] if counted else []

    def _row(self) -> Client:
        tally = self._load.tally
        now, before, late_s = tally.snapshot(), self._before, tally.late_s
        self._before, tally.late_s = now, []
        late_p99 = quantile(late_s, 0.99)
        return Client(
            at=self._clock.now(), worker=self._load.worker, cpu_percent=self._load.cpu_percent(),
            hub_lag_ms=self._load.lag_s(EVERY_S) * 1000, users=self._load.users(), scheduled=now.scheduled - before.scheduled,
            sent=now.sent - before.sent, dropped=now.dropped - before.dropped,
            late_ms=None if late_p99 is None else late_p99 * 1000, in_flight=now.in_flight,
        )  # fmt: skip


def _sources(given: Given) -> list[Source]:
    seconds = _Seconds(given)
    return [Source("client", seconds.rows, last=seconds.last)]


SAMPLER = Sampler(Client, every_s=EVERY_S, process=Process.EACH, sources=_sources)
