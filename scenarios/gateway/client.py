"""client.arrow: once a second, what this load generator itself was doing. Where it was late, its numbers are fiction."""

import time
from collections.abc import Callable

import gevent
import psutil

from contract.clock import Clock
from contract.quantile import quantile
from contract.records import Client
from scenarios.gateway.lag import lag_p99_s
from scenarios.gateway.recorder import Sink
from scenarios.gateway.tally import Snapshot, Tally

_ROW_S = 1.0
_BEAT_S = 0.005  # a stall is seen from where the beat was due, so the beat must be short beside it


class ClientWatch:
    """`start` after any fork; `stop` is safe to call twice."""

    def __init__(
        self,
        file: Sink,
        tally: Tally,
        users: Callable[[], int],
        clock: Clock,
        on_failure: Callable[[str], None],
        worker: str | None = None,
    ) -> None:
        self._file, self._tally, self._users, self._clock = file, tally, users, clock
        self._on_failure, self._worker = on_failure, worker
        self._overshoots_s: list[float] = []
        self._before: Snapshot = tally.snapshot()
        self._greenlets: list[gevent.Greenlet] = []

    def start(self) -> None:
        self._before = self._tally.snapshot()
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only sets the mark
        self._greenlets = [gevent.spawn(self._beat), gevent.spawn(self._row_by_row)]

    def stop(self) -> None:
        greenlets, self._greenlets = self._greenlets, []
        gevent.killall([g for g in greenlets if g is not gevent.getcurrent()])
        now, before = self._tally.snapshot(), self._before
        if greenlets and (now.wanted, now.asked, now.capped) != (before.wanted, before.asked, before.capped):
            self._write(self.row(self._process.cpu_percent()))  # the last second was not a whole one
        self._file.close()

    def row(self, cpu_percent: float) -> Client:
        """What was seen since the row before."""
        now, before, overshoots_s, late_s = (
            self._tally.snapshot(),
            self._before,
            self._overshoots_s,
            self._tally.late_s,
        )
        self._before, self._overshoots_s, self._tally.late_s = now, [], []
        late_p99 = quantile(late_s, 0.99)
        return Client(
            at=self._clock.now(), worker=self._worker, cpu_percent=cpu_percent, hub_lag_ms=lag_p99_s(overshoots_s, _ROW_S) * 1000,
            users=self._users(), wanted=now.wanted - before.wanted, sent=now.asked - before.asked,
            capped=now.capped - before.capped, late_ms=None if late_p99 is None else late_p99 * 1000, in_flight=now.in_flight,
        )  # fmt: skip

    def _beat(self) -> None:
        while True:
            before = time.monotonic()
            gevent.sleep(_BEAT_S)
            self._overshoots_s.append(time.monotonic() - before - _BEAT_S)

    def _row_by_row(self) -> None:
        while True:
            gevent.sleep(_ROW_S)
            if not self._write(self.row(self._process.cpu_percent())):
                return

    def _write(self, row: Client) -> bool:
        try:
            self._file.append([row])
        except Exception as e:  # as with the recorder: a watch that cannot write must not fall silent unseen
            self._on_failure(f"the client's watch cannot be written: {type(e).__name__}: {e}")
            return False
        return True
