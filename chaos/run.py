"""One run's chaos, from the preflight to the last row: rounds of the timeline, the probe, the samplers, the guards."""

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos import faults, output, preflight, runner
from chaos.abort_rules import AbortGuard, too_many_cloud_answers
from chaos.errors import CannotInject
from chaos.kube.cluster import API_ERRORS, api_error_text
from chaos.plan import Bound, moves, pauses, rounds, total_s
from chaos.probe.pace import Pace
from chaos.probe.probe import Probe
from chaos.probe.silence import AnswerWatch
from chaos.probe.verification import Answers
from chaos.recording import Recording
from chaos.round import StepContext
from chaos.sampling import Sampling
from chaos.stdin import own_stdin
from chaos.stop import Stop
from chaos.undo.guardian_link import GuardianLink
from chaos.undo.journal import Journal
from contract import messages
from contract.clock import Clock
from contract.duration import text
from contract.endpoint import Endpoint
from contract.messages import BadMessage, Counts, End, FaultEvent, Message, Ready, Status
from contract.records import GATEWAY, Event, Outcome, RequestRecord
from contract.refusal import EXIT_ABORTED, EXIT_NOT_RESTORED, EXIT_PASS, EXIT_UNKNOWN, Refusal
from contract.timeline import Timeline
from contract.topology import Topology

STATUS_EVERY_S = 1.0
PROBE_DRAIN_S = 10.0


class ChaosRun:
    """`run` executes the run and returns the exit code; `report` gets the messages for a parent or a terminal."""

    def __init__(
        self,
        topology: Topology,
        timeline: Timeline,
        bound: list[Bound],
        folder: Path,
        journal: Journal,
        clock: Clock,
        stop: Stop,
        report: Callable[[Message], None],
        duration_s: float | None,
        restore_within_s: float,
        without_reaper: bool,
        seed: int,
    ) -> None:
        self._topology, self._timeline, self._bound = topology, timeline, bound
        self._folder, self._journal, self._clock = folder, journal, clock
        self._stop, self._report = stop, report
        self._pauses = pauses(timeline, rounds(timeline, duration_s), seed)
        self._restore_within_s, self._without_reaper = restore_within_s, without_reaper
        self._guard = AbortGuard(timeline.abort_when) if timeline.abort_when else None
        self._gateway = Endpoint.of_gateway(topology.gateway)
        self._answers = Answers(topology, {b.target for b in bound}, clock)
        self._sampling = Sampling(
            topology, clock, lambda name, rows: self._recording.sample(name, rows), stop
        )
        self._clouds = {t.name for t in topology.tiers if t.cloud}
        self._shown = [GATEWAY] if topology.gateway.health else []
        self._shown += [t.name for t in topology.tiers if not t.cloud]
        self._counts = Counts(0, 0, 0)  # of the load generator
        # version → number of the probe's answers that named it; set when the probe has ended
        self.gateway_versions: dict[str, int] = {}
        self._probe_cloud = 0
        self._answered = AnswerWatch()
        self._open: set[str] = set()
        self._injected = 0  # faults verified as effective
        # Targets that someone else changed meanwhile: not verified as restored.
        self.left_alone: list[str] = []
        # Moves that are still checked, but for which the probe is slow again.
        self._waiting: set[tuple[str, int, str]] = set()
        self._trial = 0
        self._started_at = 0.0

    def count(self, counts: Counts) -> None:
        """The load generator's counts so far."""
        self._counts = counts

    def run(self) -> int:
        """Exit codes of design section 5. Raises Refusal before anything is touched."""
        clock, stop = self._clock, self._stop
        guardian_link = GuardianLink(stop, self._topology)
        try:
            ground = preflight.ground_of(self._topology, self._without_reaper)
            self._refuse_early(ground)
            guardian_link.ready()
        except BaseException:
            guardian_link.leave()
            raise
        self._recording = Recording(self._folder, stop)
        self._pace = Pace([])
        self._probe = Probe(
            self._gateway,
            self._topology,
            uuid.uuid4().hex[:6],
            self._pace,
            clock,
            self._keep_record,
        )
        context = StepContext(
            run=self._folder.name, folder=self._folder, clock=clock, stop=stop, ground=ground,
            journal=self._journal, on_event=self._on_event, guardian_link=guardian_link, answers=lambda bound, patience_s: self._answers.missing(bound.target, patience_s),
            question=lambda bound, within_s: self._answers.question(bound.target, within_s),
            restore_within_s=self._restore_within_s, stack=self._topology,
        )  # fmt: skip
        self._started_at = clock.now()
        self._report(Ready(self._started_at, self._total_s()))
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), name="status", daemon=True)
        self._sampling.start()
        self._probe.start()
        watch.start()
        not_restored: list[str] = []
        try:
            not_restored = self._run_rounds(context)
        finally:
            self._probe.stop(PROBE_DRAIN_S)
            self.gateway_versions |= self._probe.gateway_versions
            self._sampling.stop()
            over.set()
            watch.join()
            self._recording.close()
            guardian_link.leave()
        self._report(End(stop.reason, not_restored))
        if not_restored:
            output.err(guardian_link.keeps_trying)
            return EXIT_NOT_RESTORED
        if stop.reason is None:
            return EXIT_PASS if self._injected and not self.left_alone else EXIT_UNKNOWN
        return EXIT_ABORTED if stop.reason.startswith("guard:") else EXIT_UNKNOWN

    def _refuse_early(self, ground: preflight.Ground) -> None:
        """Run each step's preflight before the load begins. Raises Refusal."""
        problems = []
        for b in self._bound:
            fault = faults.make(b.step.fault, ground.cluster, b.on, b.step.with_)
            deadline = self._clock.now() + self._total_s() + self._restore_within_s
            try:
                preflight.check(fault, b.handle, b.unprotected, ground, deadline, self._clock.now())
                problems += [f"step {b.step.name!r}: {need}" for need in fault.needs()]
            except (CannotInject, OSError) as e:
                problems.append(f"step {b.step.name!r}: {e}")
            except API_ERRORS as e:
                raise Refusal(
                    f"step {b.step.name!r}: the cluster's API failed: {api_error_text(e)}"
                ) from None
        if problems:
            raise Refusal("\n".join(problems))

    def _run_rounds(self, context: StepContext) -> list[str]:
        clock, stop, started_at = self._clock, self._stop, self._started_at
        for trial, later_s in enumerate(self._pauses, start=1):
            self._trial = trial
            started_at += later_s  # before the baseline, which has the same length in every round
            guard = threading.Timer(
                self._timeline.max + later_s, stop.set, args=(f"guard: the round took longer than max {text(self._timeline.max)}",)
            )  # fmt: skip
            guard.daemon = True
            guard.start()
            with self._probe.lock:
                self._pace.plan([started_at + m.at_s for m in moves(self._bound)])
            outcome = runner.run(self._bound, context, started_at, trial)
            if outcome.not_restored:
                return outcome.not_restored
            # The next round begins `settle` after the last verified restore, so that rounds cannot overlap.
            started_at = (outcome.last_restored_at or clock.now()) + self._timeline.settle
            settled = not stop.wait(started_at - clock.now())
            guard.cancel()
            if not settled:
                return []
        return []

    def _total_s(self) -> float:
        return total_s(self._timeline, self._pauses)

    def _on_event(self, event: Event) -> None:
        self._recording.event(event)
        with self._probe.lock:
            which = (event.step, event.trial, event.move)
            if event.stage == "begin":
                self._pace.move_began()
            elif event.stage == "waiting":  # may last as long as the step: the probe must not become load
                if which not in self._waiting:
                    self._pace.move_ended()
                self._waiting.add(which)
            elif event.stage in ("effective", "fail") and which in self._waiting:
                self._waiting.discard(which)
                if event.move == "restore":  # fast again until the tier's answers have settled
                    self._pace.move_began()
                    self._pace.move_ended()
            elif event.stage in ("effective", "fail"):
                self._pace.move_ended()
            if (event.move, event.stage) == ("inject", "effective"):
                self._injected += 1
            if (event.move, event.stage) == ("restore", "fail") and (event.detail or {}).get("foreign"):
                self.left_alone.append(f"{event.step}: {event.error}")
            if (event.move, event.stage) == ("inject", "commanded"):
                self._answered.taken(event.at, event.target)
                self._open.add(event.target)
            elif (event.move, event.stage) == ("restore", "effective"):
                self._answered.returned(event.target)
                self._open.discard(event.target)
        self._report(
            FaultEvent(
                event.at, event.step, event.target, event.move, event.stage, event.error, event.detail,
                _note(event.detail or {}),
            )
        )  # fmt: skip

    def _keep_record(self, record: RequestRecord) -> None:
        self._recording.record(record)
        with self._probe.lock:
            self._answered.answered(record)
            if record.tier in self._clouds:
                self._probe_cloud += 1
            if self._guard is not None and record.covered_by is None:
                self._guard.answered(self._clock.now(), record.outcome == Outcome.OK, record.ttft_ms)

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(STATUS_EVERY_S):
            now = self._clock.now()
            used = self._probe_cloud + self._counts.cloud
            too_many = too_many_cloud_answers(used, self._timeline.max_cloud_answers, self._trial)
            if too_many is not None:
                self._stop.set(too_many)
            self._abort_when(now)
            with self._probe.lock:
                status = Status(
                    at=now,
                    elapsed_s=now - self._started_at,
                    total_s=self._total_s(),
                    trial=self._trial,
                    up={name: self._up(name) for name in self._shown},
                    probe=self._answered.status(now),
                )
            self._report(status)

    def _abort_when(self, now: float) -> None:
        if self._guard is None:
            return
        with self._probe.lock:
            waiting_ms = [(now - at) * 1000 for at in self._probe.waiting_since()]
            self._guard.counted(now, self._counts.good, self._counts.bad)
            why = self._guard.why(now, waiting_ms)
        if why is not None:
            self._stop.set(f"guard: {why}")

    def _up(self, tier: str) -> bool | None:
        row = self._sampling.latest.get(("health", tier))
        return None if row is None else row.up


def _note(detail: dict[str, Any]) -> str | None:
    """What a terminal shows after a stage: what is missing, or why a restore could not be verified by an answer."""
    if "terminating_up_to_s" in detail:
        return f"terminating, up to {text(detail['terminating_up_to_s'])}"
    if "waited_s" in detail:
        return f"{detail['missing']}; waiting for {text(round(detail['waited_s']))}"
    if detail.get("answered") == "unknown":
        return f"answered: unknown: {detail['unanswered']}"
    return detail.get("missing") or detail.get("fewer")


def leash(stop: Stop, count: Callable[[Counts], None]) -> threading.Thread:
    """Read the parent's messages until end of file, which means: restore and exit."""
    lines = own_stdin()

    def follow() -> None:
        for line in lines:
            if not line.endswith("\n"):  # truncated when the parent ended
                break
            try:
                message = messages.read(line)
                if not isinstance(message, Counts):
                    raise BadMessage(f"{message.kind!r} is not a message of a load generator")
                count(message)
            except BadMessage as e:  # a guard without counts would never abort
                stop.set(f"error: from the load generator: {e}")
        stop.set("leash: the load generator exited or closed its pipe")

    thread = threading.Thread(target=follow, name="leash", daemon=True)
    thread.start()
    return thread
