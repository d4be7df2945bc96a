"""The probe: sends requests through the gateway at a fixed rate, independent of earlier requests, and measures silence.

One token per request (see `contract.caps`), at most two in flight, alternating between a new and a kept connection. A slot
without a free connection is recorded as covered by the request that is still waiting. It sends no request to a tier directly.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from chaos.probe.pace import Pace
from chaos.probe.wire import Connection
from chaos.stop import Stop
from contract import gateway_version
from contract.caps import Use
from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End, Exchange
from contract.outcome import fill, ours
from contract.prompt import COUNT_UPWARDS
from contract.ranks import rank_of
from contract.records import Lane, Outcome, RequestRecord
from contract.request import Request
from contract.topology import Topology

SCENARIO = "probe"
DEADLINES = Deadlines(connect=5.0, first_token=30.0, silence=30.0, whole=60.0)
_TICK_S = 0.05


@dataclass(slots=True)
class _Slot:
    record: RequestRecord


class Probe:
    """`keep` gets each record; `gateway_versions`: version → number of answers that named it."""

    def __init__(
        self,
        endpoint: Endpoint,
        topology: Topology,
        prefix: str,
        pace: Pace,
        clock: Clock,
        keep: Callable[[RequestRecord], None],
    ) -> None:
        self._endpoint, self._topology, self._prefix = endpoint, topology, prefix
        self._clock, self._keep = clock, keep
        self._request = Request(prompt=COUNT_UPWARDS, stream=True, use=Use.PROBE).on(topology)
        self.pace = pace
        self.gateway_versions: dict[str, int] = {}
        self.lock = threading.Lock()  # guards the probe and what is in flight
        self._over = Stop()
        self._count = 0
        self._lanes = (Lane.PROBE_NEW, Lane.PROBE_KEPT)
        self._waiting: dict[Lane, RequestRecord] = {}
        self._work: dict[Lane, queue.Queue[_Slot | None]] = {lane: queue.Queue() for lane in self._lanes}
        self._threads = [threading.Thread(target=self._schedule, name="probe", daemon=True)]
        self._threads += [
            threading.Thread(target=self._serve, args=(lane,), name=lane, daemon=True) for lane in self._lanes
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, wait_s: float) -> None:
        """Send no more requests; wait for those in flight, and record as abandoned those that do not end."""
        self._over.set("stopped")
        for lane in self._lanes:
            self._work[lane].put(None)
        until = self._clock.now() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, until - self._clock.now()))
        with self.lock:
            left, self._waiting = list(self._waiting.values()), {}
        for record in left:
            exchange = Exchange(end=End.STOPPED, error="the run ended")
            fill(record, self._request, exchange, self._clock.at, self._topology)
            self._keep(record)

    def waiting_since(self) -> list[float]:
        """When each request in flight was scheduled; the caller holds the lock."""
        return [record.scheduled_at for record in self._waiting.values()]

    def _schedule(self) -> None:
        due = self._clock.now()
        while not self._over.is_set():
            now = self._clock.now()
            with self.lock:
                # The interval is read in every loop: a move that begins must not wait for a slow slot.
                interval = self.pace.interval_s(now)
            if due - now > interval:
                due = now + interval
            if now < due:
                self._over.wait(min(_TICK_S, due - now))
                continue
            self._take(due)
            due += interval
            if due < now - interval:  # this process stalled: missed slots are dropped, not sent in a burst
                due = now

    def _take(self, scheduled_at: float) -> None:
        self._count += 1
        preferred = self._lanes[self._count % 2]
        other = self._lanes[(self._count + 1) % 2]
        request = replace(self._request, lane=preferred, scheduled_at=scheduled_at)
        record = request.record(f"req-{self._prefix}-p{self._count:06x}", SCENARIO, scheduled_at)
        with self.lock:
            free = next((lane for lane in (preferred, other) if lane not in self._waiting), None)
            if free is not None:
                record.lane = free
                self._waiting[free] = record
            else:
                oldest = min(self._waiting.values(), key=lambda a: a.scheduled_at)
                record.covered_by, record.outcome = oldest.request_id, Outcome.ABANDONED
        if free is not None:
            self._work[free].put(_Slot(record))
        else:
            self._keep(record)

    def _serve(self, lane: Lane) -> None:
        connection = Connection(self._endpoint, DEADLINES)
        while (slot := self._work[lane].get()) is not None:
            record = slot.record
            request = self._endpoint.request(record.request_id, self._request)
            try:
                found: Exchange | Exception = connection.exchange(request)
            except Exception as e:
                found = e
            if lane is Lane.PROBE_NEW:
                connection.close()
            with self.lock:
                stopped = self._waiting.pop(lane, None) is not record
            if stopped:  # `stop` has recorded it as abandoned
                return
            try:
                if isinstance(found, Exception):
                    raise found
                fill(record, self._request, found, self._clock.at, self._topology, self._endpoint.secrets)
                version = gateway_version.named(
                    self._topology.gateway.of_kind, record.via, found.status, found.headers
                )
            except Exception as e:  # a bug; a lane that died would look like an idle one
                ours(record, e)
                version = None
            with self.lock:
                if version is not None:
                    gateway_version.count(self.gateway_versions, version)
                good = record.outcome == Outcome.OK
                served_s = record.latency_ms / 1000 if good and record.latency_ms is not None else None
                self.pace.answered(rank_of(self._topology.ranks, record.tier) if good else None, served_s)
            self._keep(record)
        connection.close()
