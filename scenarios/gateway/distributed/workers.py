"""The workers of a master: sends their setup, stores their records, measures their clocks, detects lost workers.

A lost worker loses its latest requests. That is printed at once and recorded in the manifest.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import STATE_MISSING

from contract import printable
from contract.clock import Clock, boot
from contract.records import Offset, Worker, WorkerEnd
from contract.refusal import EXIT_BAD_INPUT, InternalError, Refusal
from scenarios.gateway.arrivals import WorkerShare
from scenarios.gateway.distributed.clock_offset import Round, estimate
from scenarios.gateway.distributed.gathering import Gathering
from scenarios.gateway.distributed.messages import (
    BROKEN,
    HELLO,
    OVER,
    PARCEL,
    PING,
    PONG,
    READY,
    SETUP,
    START,
    TALLY,
)
from scenarios.gateway.tally import Snapshot
from scenarios.gateway.user_context import UserContext, as_values

_LOOK_S = 0.25
_PING_S, _OFFSETS_S = 2.0, 10.0
_FIRST_PINGS = 5
_ROUNDS = 30  # of the last minute
_SETUP_S = 90.0  # a worker's warm-up may wait a minute for its first token
_FINISH_S = 30.0


@dataclass(slots=True)
class _WorkerSlot:
    """A worker that is READY in this run."""

    info: Worker
    anchor_s: float | None  # of its clock, if it reads the same monotonic clock as this process
    warm: list[bytes]
    rounds: deque[Round] = field(default_factory=lambda: deque(maxlen=_ROUNDS))
    offset: Offset | None = None


class Workers:
    """Create it before the first worker can connect. In a run call `set_up`, `start`, `finish`: once each, in this order."""

    def __init__(self, environment: Environment, fail: Callable[[str], None]) -> None:
        self._runner, self._fail = environment.runner, fail
        self._known: set[str] = set()  # client ids that can receive our messages
        self._user_context: UserContext | None = None
        self._clock = Clock()
        self._slots: dict[str, _WorkerSlot] = {}
        self._names: dict[str, str] = {}  # client id that a setup was sent to → worker name
        self._refusal: Refusal | None = None
        self._gathering: Gathering | None = None
        self._leaving = False
        self._prefixes = 0
        self._more: Mapping[str, Any] = {}
        self._shares: dict[int, str | None] = {}  # share of an open loop's arrivals → client id that sends it
        for message, listener in (
            (HELLO, self._hello), (READY, self._ready), (TALLY, self._tally), (PONG, self._pong),
            (OVER, self._over), (BROKEN, self._broken),
        ):  # fmt: skip
            self._runner.register_message(message, listener)
        environment.events.worker_report.add_listener(self._report)
        environment.events.worker_connect.add_listener(self._connected)

    @property
    def of_run(self) -> list[Worker]:
        """All workers of this run, including lost ones."""
        return [slot.info for slot in self._slots.values()]

    @property
    def warm(self) -> list[bytes]:
        """The records of their warm-ups."""
        return [batch for slot in self._slots.values() for batch in slot.warm]

    def set_up(self, user_context: UserContext, clock: Clock, more: Mapping[str, Any]) -> None:
        """Set up every connected worker and measure its clock. Raises Refusal if a worker cannot run.

        `more`: additional data for an open loop: `scenarios`, `shape` and `options`.
        """
        self._user_context, self._clock, self._more = user_context, clock, more
        self._slots, self._names, self._refusal, self._leaving = {}, {}, None, False
        try:
            for client_id in self._present():
                if client_id in self._known:
                    self._send_setup(client_id)
            self._until(self._not_ready, _SETUP_S, "was not ready")
            for _ in range(_FIRST_PINGS):
                self._ping()
                gevent.sleep(0.02)
            self._until(
                lambda: [s.info.worker for s in self._slots.values() if not s.rounds], 5.0, "did not answer"
            )
        except Refusal:
            self.forget()
            raise

    def start(self, gathering: Gathering) -> None:
        """The run is open and chaos is ready: users may start."""
        self._gathering = gathering
        self._shares = dict.fromkeys(range(len(self._slots)))
        for client_id in self._slots:
            self._send_start(client_id)
        self._watch = gevent.spawn(self._watch_workers)

    def expect_stop(self, quit: bool) -> None:
        """The run is ending: a worker that stops from now on has not left early.

        `quit`: there will be no further run. A worker that got Locust's stop message reads no further message until its
        users have finished; quit does both at once.
        """
        self._leaving = True
        if quit:
            self._send_quit()

    def finish(self) -> list[Worker]:
        """Wait until each worker has sent its remaining records, or is lost. Returns the workers with their ends."""
        self._leaving = True
        with gevent.Timeout(_FINISH_S, False):
            while self._running():
                self._look()
                gevent.sleep(_LOOK_S)
        for slot in self._running():
            self._lose(slot)
        self._watch.kill()
        self.forget()
        return self.of_run

    def forget(self) -> None:
        """There will be no run with this setup."""
        self._user_context = self._gathering = None

    def quit_all(self) -> None:
        """Make all connected workers quit."""
        self._send_quit()
        gevent.sleep(0.2)  # other greenlets send the messages

    def _send_quit(self) -> None:
        for client_id in self._known | set(self._present()):
            self._runner.send_message("quit", None, client_id)

    # --- connected workers

    def _present(self) -> Iterator[str]:
        return (c.id for c in list(self._runner.clients.all) if c.state != STATE_MISSING)

    def _not_ready(self) -> list[str]:
        """The names of workers that are not READY yet. Raises Refusal if one cannot run."""
        if self._refusal is not None:
            raise self._refusal
        for client_id, name in self._names.items():
            if not self._is_there(client_id):
                raise Refusal(f"{name} was lost before the run started")
        return [self._names.get(c, c) for c in self._present() if c not in self._slots]

    def _until(self, missing: Callable[[], list[str]], within_s: float, failure: str) -> None:
        with gevent.Timeout(within_s, False):
            while missing():
                gevent.sleep(0.02)
            return
        raise Refusal(f"{', '.join(missing())} {failure} within {within_s:g} s")

    def _is_there(self, client_id: str) -> bool:
        client = self._runner.clients.get(client_id)
        return client is not None and client.state != STATE_MISSING

    def _running(self) -> list[_WorkerSlot]:
        return [s for s in self._slots.values() if s.info.end is None]

    def _watch_workers(self) -> None:
        pinged_at = recorded_at = self._clock.now()
        self._record_offsets()
        while True:
            gevent.sleep(_LOOK_S)
            self._look()
            now = self._clock.now()
            if now - pinged_at >= _PING_S:
                pinged_at = now
                self._ping()
            if now - recorded_at >= _OFFSETS_S:
                recorded_at = now
                self._record_offsets()

    def _look(self) -> None:
        for client_id, slot in self._slots.items():
            if slot.info.end is None and not self._is_there(client_id):
                self._lose(slot)
        if self._slots and not self._running() and not self._leaving:
            self._leaving = True
            self._fail("no worker is left")

    def _lose(self, slot: _WorkerSlot) -> None:
        slot.info.end = WorkerEnd.LOST
        heard_at, reported_at = slot.info.heard_at, slot.info.reported_at
        last = f"last heard {self._ago(heard_at)}"
        last += f", its last records {self._ago(reported_at)}" if reported_at else ", and none of its records"
        print(
            printable.lines(f"\n{_name(slot.info)} is lost: {last}; its requests since then are missing"),
            flush=True,
        )

    def _ago(self, at: float | None) -> str:
        return "never" if at is None else f"{self._clock.now() - at:.1f} s ago"

    def _heard(self, client_id: str) -> _WorkerSlot | None:
        slot = self._slots.get(client_id)
        if slot is not None:
            slot.info.heard_at = self._clock.now()
            if slot.info.end == WorkerEnd.LOST and self._gathering is not None:
                slot.info.end = None  # it was only unresponsive; its stored records arrive now
                print(printable.lines(f"\n{_name(slot.info)} is back"), flush=True)
        return slot

    # --- messages to workers

    def _send_setup(self, client_id: str) -> None:
        assert self._user_context is not None
        self._prefixes += 1
        name = self._names[client_id] = f"worker-{self._runner.get_worker_index(client_id)}"
        # Each setup has its own prefix, so that request ids of a run are unique.
        more = {"worker": name, "prefix": f"{self._user_context.prefix}{self._prefixes:02x}"}
        self._runner.send_message(SETUP, as_values(self._user_context) | dict(self._more) | more, client_id)

    def _send_start(self, client_id: str) -> None:
        """With the worker's share of an open loop's arrivals; a late worker gets the share of one that has left."""
        assert self._user_context is not None
        gone = [n for n, c in self._shares.items() if c is None or self._slots[c].info.end is not None]
        share = None
        if gone:
            self._shares[gone[0]] = client_id
            share = asdict(WorkerShare(gone[0], len(self._shares)))
        data = {"overhead_until": self._user_context.overhead_until, "share": share}
        self._runner.send_message(START, data, client_id)

    def _ping(self) -> None:
        for client_id, slot in self._slots.items():
            if slot.info.end is None:
                self._runner.send_message(PING, {"sent_at": self._clock.now()}, client_id)

    # --- messages from workers

    def _hello(self, msg: Any, **_: Any) -> None:
        self._known.add(msg.node_id)
        if self._user_context is not None and msg.node_id not in self._names:
            self._send_setup(msg.node_id)

    def _connected(self, client_id: str) -> None:
        """A known worker reconnects during a run. A new worker sends HELLO first."""
        if self._user_context is not None and client_id in self._known and client_id not in self._names:
            self._send_setup(client_id)

    def _ready(self, msg: Any, **_: Any) -> None:
        data, name = msg.data, self._names.get(msg.node_id)
        if self._user_context is None or name is None:
            return
        now = self._clock.now()
        info = Worker(worker=name, host=data["host"], pid=data["pid"], joined_at=now, heard_at=now)
        if data["refused"] is not None:
            kind = Refusal if data["exit_code"] == EXIT_BAD_INPUT else InternalError
            self._refuse(msg.node_id, kind(f"{_name(info)}: {data['refused']}"))
            return
        same = data["boot"] is not None and data["boot"] == boot()
        self._slots[msg.node_id] = _WorkerSlot(info, data["anchor_s"] if same else None, data["warm"])
        if self._gathering is not None:  # the run has started already
            self._gathering.keep({"requests": data["warm"], "samples": {}})
            self._runner.send_message(PING, {"sent_at": self._clock.now()}, msg.node_id)
            self._send_start(msg.node_id)
            print(printable.lines(f"\n{_name(info)} joined the run"), flush=True)

    def _refuse(self, client_id: str, why: Refusal) -> None:
        self._refusal = self._refusal or why
        if self._gathering is not None:  # too late to refuse the run: refuse only the worker
            print(printable.lines(f"\n{why}; sent it a quit message"), flush=True)
            self._runner.send_message("quit", None, client_id)

    def _tally(self, msg: Any, **_: Any) -> None:
        slot = self._heard(msg.node_id)
        if slot is not None and self._gathering is not None:
            self._count(slot, msg.data)

    def _count(self, slot: _WorkerSlot, tally: dict[str, Any]) -> None:
        assert self._gathering is not None
        snapshot = Snapshot(**tally)
        slot.info.requests = snapshot.sent - snapshot.in_flight
        self._gathering.tally.update(slot.info.worker, snapshot)

    def _report(self, client_id: str, data: dict[str, Any]) -> None:
        slot = self._heard(client_id)
        if slot is not None and PARCEL in data:
            self._keep(slot, data[PARCEL])

    def _over(self, msg: Any, **_: Any) -> None:
        slot = self._heard(msg.node_id)
        if slot is None or self._gathering is None:
            return
        self._keep(slot, msg.data)
        slot.info.end = WorkerEnd.STOPPED if self._leaving else WorkerEnd.LEFT
        if not self._leaving:
            print(
                printable.lines(f"\n{_name(slot.info)} has left; all its records were received"), flush=True
            )

    def _keep(self, slot: _WorkerSlot, parcel: dict[str, Any]) -> None:
        if self._gathering is None:
            return
        slot.info.records += self._gathering.keep(parcel)
        slot.info.reported_at = self._clock.now()
        self._count(slot, parcel["tally"])

    def _pong(self, msg: Any, **_: Any) -> None:
        back_at = self._clock.now()
        slot = self._heard(msg.node_id)
        if slot is None:
            return
        data = msg.data
        slot.rounds.append(Round(data["sent_at"], data["heard_at"], data["answered_at"], back_at))
        if (
            slot.offset is None and self._gathering is not None
        ):  # it joined late: its first requests need an offset too
            self._record_offsets()

    def _broken(self, msg: Any, **_: Any) -> None:
        name = self._names.get(msg.node_id, msg.node_id)
        self._fail(f"{name}: {msg.data['why']}")

    def _record_offsets(self) -> None:
        """Write the offset of every worker whose estimate has changed."""
        assert self._gathering is not None
        now = self._clock.now()
        for slot in self._slots.values():
            if not slot.rounds or slot.info.end is not None:
                continue
            exact_s = None if slot.anchor_s is None else slot.anchor_s - self._clock.anchor_s
            offset_s, uncertainty_s = estimate(slot.rounds, now, exact_s)
            before = slot.offset
            if before is None or (before.offset_s, before.uncertainty_s) != (offset_s, uncertainty_s):
                slot.offset = Offset(now, slot.info.worker, offset_s, uncertainty_s)
                self._gathering.clock(slot.offset)


def _name(info: Worker) -> str:
    return f"{info.worker} ({info.host}, pid {info.pid})"
