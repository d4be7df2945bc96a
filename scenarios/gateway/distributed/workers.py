"""A master's workers: it hands them their stage, keeps what they send, measures their clocks, and knows who is lost.

A worker that falls silent takes its latest requests with it. That is said at once, and stands in the manifest.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import STATE_MISSING

from contract.clock import Clock, boot
from contract.records import Offset, Worker, WorkerEnd
from contract.refusal import Refusal
from scenarios.gateway.arrivals import Share
from scenarios.gateway.distributed.clock_offset import Round, estimate
from scenarios.gateway.distributed.gathering import Gathering
from scenarios.gateway.distributed.messages import (
    BROKEN,
    CURTAIN,
    HELLO,
    OVER,
    PARCEL,
    PING,
    PONG,
    STAGE,
    STAGED,
    TALLY,
)
from scenarios.gateway.tally import Snapshot
from scenarios.gateway.user_context import Stage, told

_LOOK_S = 0.25
_PING_S, _TELL_S = 2.0, 10.0
_FIRST_PINGS = 5
_ROUNDS = 30  # of the last minute
_STAGE_S = 90.0  # a worker's warm-up may wait a minute for its first token
_REST_S = 30.0


@dataclass(slots=True)
class _Seat:
    """A worker that was given a stage in this run."""

    who: Worker
    anchor_s: float | None  # of its clock, where it reads the same monotonic clock as this process
    warm: list[bytes]
    rounds: deque[Round] = field(default_factory=lambda: deque(maxlen=_ROUNDS))
    offset: Offset | None = None


class Workers:
    """Registered before the first worker can be heard. `call`, `play`, `rest`: once each in a run, in this order."""

    def __init__(self, environment: Environment, fail: Callable[[str], None]) -> None:
        self._runner, self._fail = environment.runner, fail
        self._here: set[str] = set()  # who can hear our words
        self._stage: Stage | None = None
        self._clock = Clock()
        self._seats: dict[str, _Seat] = {}
        self._called: dict[str, str] = {}  # to whom a stage was sent → the name it was given
        self._refusal: str | None = None
        self._gathering: Gathering | None = None
        self._leaving = False
        self._prefixes = 0
        self._more: Mapping[str, Any] = {}
        self._shares: dict[int, str | None] = {}  # of an open loop's arrivals: by whom each is made
        for word, listener in (
            (HELLO, self._hello), (STAGED, self._staged), (TALLY, self._tally), (PONG, self._pong),
            (OVER, self._over), (BROKEN, self._broken),
        ):  # fmt: skip
            self._runner.register_message(word, listener)
        environment.events.worker_report.add_listener(self._report)
        environment.events.worker_connect.add_listener(self._connected)

    @property
    def cast(self) -> list[Worker]:
        """All that have played in this run, also those that are lost."""
        return [seat.who for seat in self._seats.values()]

    @property
    def warm(self) -> list[bytes]:
        """Their warm-ups' records."""
        return [batch for seat in self._seats.values() for batch in seat.warm]

    def call(self, stage: Stage, clock: Clock, more: Mapping[str, Any]) -> None:
        """Give every worker that is there its stage, and measure its clock. Raises Refusal where one cannot play.

        `more`: what it needs besides for an open loop: `scenarios`, `shape` and `options`.
        """
        self._stage, self._clock, self._more = stage, clock, more
        self._seats, self._called, self._refusal, self._leaving = {}, {}, None, False
        try:
            for client_id in self._present():
                if client_id in self._here:
                    self._send_stage(client_id)
            self._until(self._not_staged, _STAGE_S, "did not take its stage")
            for _ in range(_FIRST_PINGS):
                self._ping()
                gevent.sleep(0.02)
            self._until(
                lambda: [s.who.worker for s in self._seats.values() if not s.rounds], 5.0, "fell silent"
            )
        except Refusal:
            self.forget()
            raise

    def play(self, gathering: Gathering) -> None:
        """The run is open and chaos is ready: the users may come."""
        self._gathering = gathering
        self._shares = dict.fromkeys(range(len(self._seats)))
        for client_id in self._seats:
            self._send_curtain(client_id)
        self._watch = gevent.spawn(self._watch_them)

    def let_go(self, home: bool) -> None:
        """The run is ending: who stops from now on has not left early.

        `home`: there will be no other. A worker that Locust has told to stop hears nothing more for as long as users
        have time to finish; one that is told to quit does both at once.
        """
        self._leaving = True
        if home:
            self._send_home()

    def rest(self) -> list[Worker]:
        """Wait until each has handed over the rest, or is lost; how each of them ended."""
        self._leaving = True
        with gevent.Timeout(_REST_S, False):
            while self._playing():
                self._look()
                gevent.sleep(_LOOK_S)
        for seat in self._playing():
            self._lose(seat)
        self._watch.kill()
        self.forget()
        return self.cast

    def forget(self) -> None:
        """There will be no run this time."""
        self._stage = self._gathering = None

    def dismiss(self) -> None:
        """Send home who is still there."""
        self._send_home()
        gevent.sleep(0.2)  # the messages leave in other greenlets' turns

    def _send_home(self) -> None:
        for client_id in self._here | set(self._present()):
            self._runner.send_message("quit", None, client_id)

    # --- who is there

    def _present(self) -> Iterator[str]:
        return (c.id for c in list(self._runner.clients.all) if c.state != STATE_MISSING)

    def _not_staged(self) -> list[str]:
        """The names of those that have yet to say that they can play. Raises Refusal where one cannot."""
        if self._refusal is not None:
            raise Refusal(self._refusal)
        for client_id, name in self._called.items():
            if not self._is_there(client_id):
                raise Refusal(f"{name} was lost before the run began")
        return [self._called.get(c, c) for c in self._present() if c not in self._seats]

    def _until(self, missing: Callable[[], list[str]], within_s: float, words: str) -> None:
        with gevent.Timeout(within_s, False):
            while missing():
                gevent.sleep(0.02)
            return
        raise Refusal(f"{', '.join(missing())} {words} within {within_s:g} s")

    def _is_there(self, client_id: str) -> bool:
        client = self._runner.clients.get(client_id)
        return client is not None and client.state != STATE_MISSING

    def _playing(self) -> list[_Seat]:
        return [s for s in self._seats.values() if s.who.end is None]

    def _watch_them(self) -> None:
        pinged_at = told_at = self._clock.now()
        self._tell_offsets()
        while True:
            gevent.sleep(_LOOK_S)
            self._look()
            now = self._clock.now()
            if now - pinged_at >= _PING_S:
                pinged_at = now
                self._ping()
            if now - told_at >= _TELL_S:
                told_at = now
                self._tell_offsets()

    def _look(self) -> None:
        for client_id, seat in self._seats.items():
            if seat.who.end is None and not self._is_there(client_id):
                self._lose(seat)
        if self._seats and not self._playing() and not self._leaving:
            self._leaving = True
            self._fail("no worker is left")

    def _lose(self, seat: _Seat) -> None:
        seat.who.end = WorkerEnd.LOST
        heard_at, reported_at = seat.who.heard_at, seat.who.reported_at
        last = f"last heard {self._ago(heard_at)}"
        last += f", its last records {self._ago(reported_at)}" if reported_at else ", and none of its records"
        print(f"\n{_name(seat.who)} is lost: {last}; its requests since then are missing", flush=True)

    def _ago(self, at: float | None) -> str:
        return "never" if at is None else f"{self._clock.now() - at:.1f} s ago"

    def _heard(self, client_id: str) -> _Seat | None:
        seat = self._seats.get(client_id)
        if seat is not None:
            seat.who.heard_at = self._clock.now()
            if seat.who.end == WorkerEnd.LOST and self._gathering is not None:
                seat.who.end = None  # it was only silent; what it had kept comes now
                print(f"\n{_name(seat.who)} is back", flush=True)
        return seat

    # --- what is said to them

    def _send_stage(self, client_id: str) -> None:
        assert self._stage is not None
        self._prefixes += 1
        name = self._called[client_id] = f"worker-{self._runner.get_worker_index(client_id)}"
        # Every stage that was ever sent has a prefix of its own, so that no two requests of a run can share an id.
        more = {"worker": name, "prefix": f"{self._stage.prefix}{self._prefixes:02x}"}
        self._runner.send_message(STAGE, told(self._stage) | dict(self._more) | more, client_id)

    def _send_curtain(self, client_id: str) -> None:
        """With its share of an open loop's arrivals: each has one; who comes late takes that of one who has gone."""
        assert self._stage is not None
        gone = [n for n, c in self._shares.items() if c is None or self._seats[c].who.end is not None]
        share = None
        if gone:
            self._shares[gone[0]] = client_id
            share = asdict(Share(gone[0], len(self._shares)))
        said = {"overhead_until": self._stage.overhead_until, "share": share}
        self._runner.send_message(CURTAIN, said, client_id)

    def _ping(self) -> None:
        for client_id, seat in self._seats.items():
            if seat.who.end is None:
                self._runner.send_message(PING, {"sent_at": self._clock.now()}, client_id)

    # --- what they say

    def _hello(self, msg: Any, **_: Any) -> None:
        self._here.add(msg.node_id)
        if self._stage is not None and msg.node_id not in self._called:
            self._send_stage(msg.node_id)

    def _connected(self, client_id: str) -> None:
        """One that has been here before comes back while a run is on; of a new one we wait for its HELLO."""
        if self._stage is not None and client_id in self._here and client_id not in self._called:
            self._send_stage(client_id)

    def _staged(self, msg: Any, **_: Any) -> None:
        said, name = msg.data, self._called.get(msg.node_id)
        if self._stage is None or name is None:
            return
        now = self._clock.now()
        who = Worker(worker=name, host=said["host"], pid=said["pid"], joined_at=now, heard_at=now)
        if said["refused"] is not None:
            self._refuse(msg.node_id, f"{_name(who)}: {said['refused']}")
            return
        same = said["boot"] is not None and said["boot"] == boot()
        self._seats[msg.node_id] = _Seat(who, said["anchor_s"] if same else None, said["warm"])
        if self._gathering is not None:  # the run is on already
            self._gathering.keep({"requests": said["warm"], "samples": {}})
            self._runner.send_message(PING, {"sent_at": self._clock.now()}, msg.node_id)
            self._send_curtain(msg.node_id)
            print(f"\n{_name(who)} plays from now on", flush=True)

    def _refuse(self, client_id: str, why: str) -> None:
        self._refusal = self._refusal or why
        if self._gathering is not None:  # too late to refuse the run: only the worker is
            print(f"\n{why}; it is sent home", flush=True)
            self._runner.send_message("quit", None, client_id)

    def _tally(self, msg: Any, **_: Any) -> None:
        seat = self._heard(msg.node_id)
        if seat is not None and self._gathering is not None:
            self._count(seat, msg.data)

    def _count(self, seat: _Seat, tally: dict[str, Any]) -> None:
        assert self._gathering is not None
        snapshot = Snapshot(**tally)
        seat.who.requests = snapshot.sent - snapshot.in_flight
        self._gathering.tally.tell(seat.who.worker, snapshot)

    def _report(self, client_id: str, data: dict[str, Any]) -> None:
        seat = self._heard(client_id)
        if seat is not None and PARCEL in data:
            self._keep(seat, data[PARCEL])

    def _over(self, msg: Any, **_: Any) -> None:
        seat = self._heard(msg.node_id)
        if seat is None or self._gathering is None:
            return
        self._keep(seat, msg.data)
        seat.who.end = WorkerEnd.STOPPED if self._leaving else WorkerEnd.LEFT
        if not self._leaving:
            print(f"\n{_name(seat.who)} has left; all its records are here", flush=True)

    def _keep(self, seat: _Seat, parcel: dict[str, Any]) -> None:
        if self._gathering is None:
            return
        seat.who.records += self._gathering.keep(parcel)
        seat.who.reported_at = self._clock.now()
        self._count(seat, parcel["tally"])

    def _pong(self, msg: Any, **_: Any) -> None:
        back_at = self._clock.now()
        seat = self._heard(msg.node_id)
        if seat is None:
            return
        said = msg.data
        seat.rounds.append(Round(said["sent_at"], said["heard_at"], said["answered_at"], back_at))
        if (
            seat.offset is None and self._gathering is not None
        ):  # it came late: its first requests need one too
            self._tell_offsets()

    def _broken(self, msg: Any, **_: Any) -> None:
        name = self._called.get(msg.node_id, msg.node_id)
        self._fail(f"{name}: {msg.data['why']}")

    def _tell_offsets(self) -> None:
        """A line for every worker whose clock is now known otherwise than it was told last."""
        assert self._gathering is not None
        now = self._clock.now()
        for seat in self._seats.values():
            if not seat.rounds or seat.who.end is not None:
                continue
            exact_s = None if seat.anchor_s is None else seat.anchor_s - self._clock.anchor_s
            offset_s, uncertainty_s = estimate(seat.rounds, now, exact_s)
            before = seat.offset
            if before is None or (before.offset_s, before.uncertainty_s) != (offset_s, uncertainty_s):
                seat.offset = Offset(now, seat.who.worker, offset_s, uncertainty_s)
                self._gathering.clock(seat.offset)


def _name(who: Worker) -> str:
    return f"{who.worker} ({who.host}, pid {who.pid})"
