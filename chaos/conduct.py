"""One run's chaos, from the preflight to the last row: rounds of the timeline, the probe, the health watch, the guards."""

import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.health import HealthWatch
from chaos.journal import Journal
from chaos.live import FailoverWatch
from chaos.metronome import Metronome
from chaos.plan import Bound, moves, rounds
from chaos.preflight import cluster_of
from chaos.probe import PROMPT, Probe
from chaos.recording import Recording
from chaos.runner import Surroundings, walk
from chaos.stop import Stop
from chaos.wire import Connection, Deadlines
from contract.clock import Clock
from contract.duration import text
from contract.endpoint import Endpoint
from contract.records import Ask, Event, Outcome
from contract.refusal import EXIT_ABORTED, EXIT_NOT_RESTORED, EXIT_PASS, EXIT_UNKNOWN
from contract.stream import fill
from contract.timeline import Timeline
from contract.topology import Topology, secret

STATUS_EVERY_S = 1.0
PROBE_DRAIN_S = 10.0


@dataclass(slots=True)
class Cloud:
    """Answers of a cloud tier so far: they cost money, so they are counted while they come."""

    probe: int = 0
    load: int = 0  # as the load generator last told


class Conduct:
    """`run` does it all and returns the exit code; `say` gets what a parent or a terminal wants to know."""

    def __init__(
        self,
        topology: Topology,
        timeline: Timeline,
        bound: list[Bound],
        folder: Path,
        journal: Journal,
        clock: Clock,
        stop: Stop,
        say: Callable[[dict[str, Any]], None],
        duration_s: float | None,
        mend_within_s: float,
    ) -> None:
        self._topology, self._timeline, self._bound = topology, timeline, bound
        self._folder, self._journal, self._clock, self._stop, self._say = folder, journal, clock, stop, say
        self._rounds = rounds(timeline, duration_s)
        self._mend_within_s = mend_within_s
        self._gateway = Endpoint.of(_url(topology), topology.gateway.model, secret(topology.gateway.api_key))
        self._clouds = {t.name for t in topology.tiers if t.cloud}
        self.cloud = Cloud()
        self._failover = FailoverWatch()
        self._open: set[str] = set()
        self._trial = 0
        self._started_at = 0.0

    def run(self) -> int:
        """Exit codes of design section 5. Raises Refusal before anything was touched."""
        cluster, uid = cluster_of(self._topology)
        clock, stop = self._clock, self._stop
        self._recording = Recording(self._folder, stop)
        self._metronome = Metronome([])
        self._probe = Probe(
            self._gateway,
            self._topology.tier_of,
            uuid.uuid4().hex[:6],
            self._metronome,
            clock,
            self._keep_ask,
        )
        self._health = HealthWatch(self._topology.tiers, clock, self._recording.health)
        around = Surroundings(
            run=self._folder.name, folder=self._folder, clock=clock, stop=stop, cluster=cluster, cluster_uid=uid,
            journal=self._journal, tell=self._tell, answers=self._answers, mend_within_s=self._mend_within_s,
        )  # fmt: skip
        self._started_at = clock.now()
        self._say({"kind": "ready", "started_at": self._started_at, "total_s": self._total_s()})
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), name="status", daemon=True)
        self._health.start()
        self._probe.start()
        watch.start()
        not_restored: list[str] = []
        try:
            not_restored = self._walk_rounds(around)
        finally:
            self._probe.stop(PROBE_DRAIN_S)
            self._health.stop()
            over.set()
            watch.join()
            self._recording.close()
        self._say({"kind": "end", "reason": stop.reason, "not_restored": not_restored})
        if not_restored:
            return EXIT_NOT_RESTORED
        if stop.reason is None:
            return EXIT_PASS
        return EXIT_ABORTED if stop.reason.startswith("guard:") else EXIT_UNKNOWN

    def _walk_rounds(self, around: Surroundings) -> list[str]:
        clock, stop, started_at = self._clock, self._stop, self._started_at
        for trial in range(1, self._rounds + 1):
            self._trial = trial
            guard = threading.Timer(
                self._timeline.max, stop.set, args=(f"guard: the round took longer than max {text(self._timeline.max)}",)
            )  # fmt: skip
            guard.daemon = True
            guard.start()
            with self._probe.lock:
                self._metronome.plan([started_at + m.at_s for m in moves(self._bound)])
            outcome = walk(self._bound, around, started_at, trial)
            if outcome.not_restored:
                return outcome.not_restored
            # The next round begins a settled while after the last verified mend, so that rounds cannot overlap.
            started_at = (outcome.last_mended_at or clock.now()) + self._timeline.settle
            settled = not stop.wait(started_at - clock.now())
            guard.cancel()
            if not settled:
                return []
        return []

    def _total_s(self) -> float:
        return self._timeline.round_s * self._rounds

    def _tell(self, event: Event) -> None:
        self._recording.event(event)
        with self._probe.lock:
            if event.stage == "begin":
                self._metronome.move_began()
            elif event.stage in ("effective", "fail"):
                self._metronome.move_ended()
            if (event.move, event.stage) == ("inject", "commanded"):
                self._failover.taken(event.at, event.target)
                self._open.add(event.target)
            elif (event.move, event.stage) == ("mend", "effective"):
                self._failover.returned(event.target)
                self._open.discard(event.target)
        self._say(
            {"kind": "event", "step": event.step, "target": event.target, "move": event.move, "stage": event.stage,
             "error": event.error, "detail": event.detail}
        )  # fmt: skip

    def _keep_ask(self, ask: Ask) -> None:
        self._recording.ask(ask)
        with self._probe.lock:
            self._failover.answered(ask)
            if ask.tier in self._clouds:
                self.cloud.probe += 1

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(STATUS_EVERY_S):
            most = self._timeline.max_cloud_answers
            used = self.cloud.probe + self.cloud.load
            if most is not None and used > most:
                self._stop.set(f"guard: {used} answers of a cloud tier, max_cloud_answers is {most}")
            now = self._clock.now()
            with self._probe.lock:
                status = {
                    "kind": "status",
                    "elapsed_s": now - self._started_at,
                    "total_s": self._total_s(),
                    "trial": self._trial,
                    "up": {t.name: self._up(t.name) for t in self._topology.tiers if not t.cloud},
                    "waiting_s": self._failover.current_s(now),
                    "failover_s": self._failover.last_s,
                }
            self._say(status)

    def _up(self, tier: str) -> bool | None:
        return self._health.up.get(tier)

    def _answers(self, bound: Bound) -> str | None:
        """A real question, straight to the tier. None: a whole answer came, or it cannot be asked from here."""
        tier = bound.tier
        if tier.url is None or tier.model is None:
            return None
        endpoint = Endpoint.of(tier.url, tier.model, secret(tier.api_key))
        ask = Ask(
            request_id=f"ask-{uuid.uuid4().hex[:12]}", scenario="verify", lane="verify", via=tier.name, stream=False,
            intended_at=self._clock.now(), max_tokens=1,
        )  # fmt: skip
        connection = Connection(endpoint, Deadlines(connect=2.0, silence=20.0, whole=20.0))
        exchange = connection.exchange(endpoint.request(ask.request_id, PROMPT, 1, False, tier.ignore_eos))
        connection.close()
        fill(ask, exchange, True, self._clock.at, self._topology.tier_of)
        return (
            None if ask.outcome == Outcome.OK else f"{tier.name} does not answer: {ask.outcome}: {ask.error}"
        )


def _url(topology: Topology) -> str:
    assert topology.gateway.url, "a topology without urls is refused before"
    return topology.gateway.url


def leash(stop: Stop, cloud: Cloud) -> threading.Thread:
    """Read the parent's lines until its end of file: that is the leash, and it means mend and leave."""

    def follow() -> None:
        for line in sys.stdin:
            word, _, value = line.partition(" ")
            if word == "cloud_answers" and value.strip().isdigit():
                cloud.load = int(value)
        stop.set("leash: the load generator has gone, or lets go")

    thread = threading.Thread(target=follow, name="leash", daemon=True)
    thread.start()
    return thread
