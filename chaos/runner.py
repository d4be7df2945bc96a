"""Walks a plan against a clock, tells every move, always mends.

Each step has a thread of its own, so that waiting for one fault to take effect delays no other. Once a step's undo
record is open, nothing ends its thread before the mend was verified or its deadline passed.
"""

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import faults, lease
from chaos.cluster import TROUBLE, Cluster
from chaos.fault import CannotInject, Fault, Foreign
from chaos.journal import Journal, Undo
from chaos.plan import Bound
from chaos.stop import Stop
from contract.clock import Clock
from contract.records import Event

PREPARE_S = 1.0  # the undo record is made this long before the inject, so that the inject itself is on time
POLL_S = 0.15
EFFECTIVE_WITHIN_S = 60.0
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Outcome:
    """What became of a round."""

    last_mended_at: float | None = None
    not_restored: list[str] = field(default_factory=list)  # handles


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a step needs from outside; handed in."""

    run: str
    folder: Path
    clock: Clock
    stop: Stop
    cluster: Cluster
    cluster_uid: str
    journal: Journal
    tell: Callable[[Event], None]
    answers: Callable[[Bound], str | None]  # a real question to the tier: None, or why it is no answer yet
    mend_within_s: float


def walk(bound: list[Bound], around: Surroundings, started_at: float, trial: int) -> Outcome:
    """One round, from its start to its last mend; returns after every step has ended."""
    outcome = Outcome()
    lock = threading.Lock()
    threads = []
    for one in bound:
        step = _StepWalk(one, around, started_at, trial, outcome, lock)
        threads.append(threading.Thread(target=step.walk, name=f"step {one.step.name}"))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcome


class _StepWalk:
    """One step of one round."""

    def __init__(
        self,
        bound: Bound,
        around: Surroundings,
        started_at: float,
        trial: int,
        outcome: Outcome,
        lock: threading.Lock,
    ) -> None:
        self._bound, self._around, self._trial = bound, around, trial
        self._outcome, self._lock = outcome, lock
        self._inject_at = started_at + bound.step.at
        self._mend_at = self._inject_at + bound.step.for_
        self._fault: Fault = faults.find(bound.step.fault).make(around.cluster, bound.handle)

    def walk(self) -> None:
        around = self._around
        if around.stop.wait(self._inject_at - PREPARE_S - around.clock.now()):
            return
        prepared = self._prepare()
        if prepared is None:
            return
        undo, record, lease_uid = prepared
        try:
            if not around.stop.wait(self._inject_at - around.clock.now()):
                self._inject(undo)
                around.stop.wait(self._mend_at - around.clock.now())
        finally:
            # Whatever happened above, known or not: the way back is taken.
            self._mend(undo, record, lease_uid)

    def _prepare(self) -> tuple[Undo, Path, str] | None:
        """The undo record, on disk and in the Lease. None: refused, and nothing was touched."""
        around, bound = self._around, self._bound
        record = None
        try:
            # Looked at first, so that a target which another run has taken away is not mistaken for an empty one.
            lease.must_be_free(around.cluster, bound.handle)
            undo = Undo(
                run=around.run,
                folder=str(around.folder.resolve()), step=bound.step.name, trial=self._trial, fault=bound.step.fault, target=bound.tier.name,
                handle=bound.handle, cluster=around.cluster_uid, kubeconfig=around.cluster.kubeconfig, embedded_pid=around.cluster.embedded_pid,
                holder=f"{socket.gethostname()}:{os.getpid()}", deadline=self._mend_at + around.mend_within_s,
                state=self._fault.snapshot(),
            )  # fmt: skip
            record = around.journal.open(undo)
            held = lease.take(around.cluster, undo, around.clock.now())
            return undo, record, held["metadata"]["uid"]
        except (CannotInject, OSError, *TROUBLE) as e:
            # A Lease whose creation was not answered may be there all the same: the record then stays open for restore.
            if record is not None and isinstance(e, CannotInject):
                around.journal.close(record)
            self._tell("inject", "fail", error=_words(e))
            return None

    def _inject(self, undo: Undo) -> None:
        around = self._around
        self._tell("inject", "begin", late_ms=(around.clock.now() - self._inject_at) * 1000)
        if around.stop.is_set():  # the event could not be written: what cannot be told is not done
            return
        try:
            self._fault.inject(undo.state)
            self._tell("inject", "commanded")
        except (CannotInject, *TROUBLE) as e:
            self._tell("inject", "fail", error=_words(e))
            return
        until = min(around.clock.now() + EFFECTIVE_WITHIN_S, self._mend_at)
        seen, why = self._until(lambda: self._fault.effective(undo.state), until, heed_stop=True)
        if seen is not None:
            self._tell("inject", "effective", detail=seen)
        elif not around.stop.is_set():
            self._tell("inject", "fail", error=f"not effective: {why}")

    def _mend(self, undo: Undo, record: Path, lease_uid: str) -> None:
        around = self._around
        scheduled = around.clock.now() >= self._mend_at
        late_ms = (around.clock.now() - self._mend_at) * 1000 if scheduled else None
        self._tell(
            "mend", "begin", late_ms=late_ms, detail=None if scheduled else {"because": around.stop.reason}
        )
        until = max(undo.deadline, around.clock.now() + around.mend_within_s)
        foreign = None
        try:
            done, why = self._until(lambda: self._command_mend(undo), until, heed_stop=False)
        except Foreign as e:
            foreign, done, why = str(e), {}, None
        if done is None:
            self._not_restored(undo, f"could not be mended: {why}")
            return
        self._tell("mend", "commanded", error=foreign)
        if foreign is None:
            seen, why = self._until(lambda: self._verify_mended(undo), until, heed_stop=False)
            if seen is None:
                self._not_restored(undo, f"mended, but not verified: {why}")
                return
            self._tell("mend", "effective", detail=seen)
        else:
            self._tell("mend", "fail", error=foreign, detail={"foreign": True})
        try:
            lease.release(around.cluster, undo, lease_uid)
        except TROUBLE as e:
            self._tell("mend", "fail", error=f"mended; the Lease could not be deleted: {_words(e)}")
            return
        around.journal.close(record)
        with self._lock:
            self._outcome.last_mended_at = max(self._outcome.last_mended_at or 0.0, around.clock.now())

    def _command_mend(self, undo: Undo) -> dict[str, Any]:
        self._fault.mend(undo.state)
        return {}

    def _verify_mended(self, undo: Undo) -> dict[str, Any] | None:
        seen = self._fault.mended(undo.state)
        if seen is None:
            return None
        missing = self._around.answers(self._bound)
        if missing is not None:
            raise NotYet(missing)
        return seen

    def _until(
        self, verify: Callable[[], dict[str, Any] | None], until: float, heed_stop: bool
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Try until it holds: (what was seen, None), or (None, why not)."""
        around = self._around
        failures = 0
        why: str | None = "not seen in time"
        while True:
            try:
                seen = verify()
                if seen is not None:
                    return seen, None
                failures, pause = 0, POLL_S
            except NotYet as e:
                why, pause = str(e), POLL_S
            except Foreign:
                raise
            except Exception as e:  # also a mistake of ours: no mend may end with a traceback
                why = _words(e)
                if around.cluster.gone():
                    return None, "the embedded cluster is gone, and its pods with it"
                pause = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
                failures += 1
            if around.clock.now() + pause > until:
                return None, why
            if heed_stop:
                if around.stop.wait(pause):
                    return None, around.stop.reason
            else:
                threading.Event().wait(pause)

    def _not_restored(self, undo: Undo, why: str) -> None:
        self._tell("mend", "fail", error=f"{undo.handle} {why}")
        with self._lock:
            self._outcome.not_restored.append(undo.handle)

    def _tell(
        self, move: str, stage: str, late_ms: float | None = None, detail: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:  # fmt: skip
        step = self._bound.step
        around = self._around
        around.tell(
            Event(
                at=around.clock.now(),
                run=around.run,
                move=move,
                stage=stage,
                by="timeline",
                step=step.name,
                trial=self._trial,
                fault=step.fault,
                target=step.target,
                late_ms=late_ms,
                detail=detail,
                error=error,
            )
        )


class NotYet(Exception):
    """Not verified so far, and what is missing."""


def _words(error: Exception) -> str:
    """One line, short enough for an event."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
