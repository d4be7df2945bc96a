"""Walks a plan against a clock, tells every move, always mends.

Each step has a thread of its own, so that waiting for one fault to take effect delays no other. Once a step's undo
record is open, nothing ends its thread before the mend was verified or its deadline passed.
"""

import json
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chaos import faults, preflight
from chaos.claim import Claim
from chaos.cluster import TROUBLE, process_gone, told
from chaos.fault import CannotInject, Fault, Foreign, NotYet
from chaos.guarding import Guarding
from chaos.journal import Journal, Undo, from_json
from chaos.mender import GONE, WATCH_EVERY_S, WATCH_ON_S, Mender
from chaos.plan import Bound
from chaos.preflight import Ground
from chaos.stop import Stop
from contract.clock import Clock
from contract.records import Event

PREPARE_S = 3.0  # the undo record is made this long before the inject, so that the inject itself is on time
POLL_S = 0.15
LOOK_S = 0.1  # how soon a window ends after somebody else moved the target
FROZEN_S = 0.5  # later than this, somebody may have acted in our place meanwhile
INJECT_WITHIN_S = 10.0
EFFECTIVE_WITHIN_S = (
    60.0  # then it is told to be waited for, and looked for at a calmer pace until the step ends
)
LATE_LOOK_S = 0.5
TAKES_MOST_S = (
    900.0  # of what the target may take beyond that by its own account, so much is added to a deadline
)
TAKE_OVER_WITHIN_S = 30.0
GIVE_UP_WITHIN_S = 30.0
ANSWERED_S = 20.0  # so much patience has a real question to a tier that has come back
UNANSWERED_S = 3.0  # a tier that leaves a question this long is silent
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
    ground: Ground
    journal: Journal
    tell: Callable[[Event], None]
    guarding: Guarding
    # A real question to the tier, with so many seconds of patience: None where a whole answer came, or where it cannot
    # be asked from here; otherwise why it is no answer.
    answers: Callable[[Bound, float], str | None]
    mend_within_s: float


def walk(bound: list[Bound], around: Surroundings, started_at: float, trial: int) -> Outcome:
    """One round, from its start to its last mend; returns after every step has ended."""
    outcome = Outcome()
    lock = threading.Lock()
    threads = []
    last: dict[tuple[str, str], threading.Event] = {}
    for one in sorted(bound, key=lambda b: b.step.at):
        key = one.handle.kind, one.handle.name
        before, last[key] = last.get(key), threading.Event()
        step = _StepWalk(one, around, started_at, trial, outcome, lock)
        threads.append(
            threading.Thread(target=step.walk, args=(before, last[key]), name=f"step {one.step.name}")
        )
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
        self._fault: Fault = faults.make(
            bound.step.fault, around.ground.cluster, bound.handle, bound.step.with_
        )
        self._over = threading.Event()  # the window has ended
        self._moved: str | None = None  # by somebody else, in words
        self._mend_told = False  # as commanded
        self._unsure = False  # a try to inject was not answered: it may still arrive
        self._missing: str | None = None  # what a fault that was made lacks to be effective

    def walk(self, before: threading.Event | None, ended: threading.Event) -> None:
        """`before`: the end of the earlier step on the same target, which holds its claim; `ended`: our own."""
        try:
            if before is not None:
                before.wait()
            self._walk()
        except Exception as e:
            # A mistake of ours. The guardian mends when we leave; that all is well must not be said.
            self._not_restored(f"the step broke off: {type(e).__name__}: {e}")
            raise
        finally:
            ended.set()

    def _walk(self) -> None:
        around = self._around
        if around.stop.wait(self._inject_at - PREPARE_S - around.clock.now()):
            return
        prepared = self._prepare()
        if prepared is None:
            return
        undo, claim, known = prepared
        if around.stop.wait(self._inject_at - around.clock.now()):
            self._give_up(undo, claim)
            return
        if around.clock.now() >= self._mend_at:
            self._tell("inject", "fail", error="the step was over before its target could be claimed")
            self._give_up(undo, claim)
            return
        try:
            if self._inject(undo, claim, known):
                self._hold(undo)
        finally:
            # Whatever happened above, known or not: the way back is taken.
            self._over.set()
            self._mend(undo, claim)

    def _prepare(self) -> tuple[Undo, Claim, dict[str, list[str]]] | None:
        """The undo record, on disk and in the Lease, and what else is known of the target: who might move it besides,
        and where it is not whole. None: refused, untouched."""
        around, bound = self._around, self._bound
        deadline = self._mend_at + around.mend_within_s
        taking: tuple[Undo, Claim] | None = None
        try:
            preflight.check(
                self._fault, bound.handle, bound.unprotected, around.ground, deadline, around.clock.now()
            )
            claim = Claim(around.journal, around.ground.cluster, self._undo(deadline, {}))
            claim.must_be_free(around.clock.now(), self._mend_first)
            state = self._fault.snapshot()
            # What goes slowly makes room slowly for what comes back. What is usual the deadline has room for already.
            deadline += min(max(0.0, self._fault.takes_s(state) - EFFECTIVE_WITHIN_S), TAKES_MOST_S)
            if bound.handle.on_cluster and around.ground.cluster is not None:
                ended = preflight.outlived(around.ground.cluster, deadline)
                if ended:
                    raise CannotInject("; ".join(ended))
            undo = self._undo(deadline, state)
            found = {"others": self._others(), "remarks": self._remarks(state)}
            taking = undo, Claim(around.journal, around.ground.cluster, undo)
            taking[1].take(around.clock.now())
            around.guarding.arm(undo)
            self._fault.arm(undo.state, deadline - around.clock.now())
        except (CannotInject, OSError, *TROUBLE) as e:
            self._tell("inject", "fail", error=_words(e))
            if taking is not None:
                self._give_up(*taking)
            return None
        return *taking, {key: lines for key, lines in found.items() if lines}

    def _undo(self, deadline: float, state: dict[str, Any]) -> Undo:
        around, bound = self._around, self._bound
        ground, handle = around.ground, bound.handle
        undo = Undo(
            run=around.run, folder=str(around.folder.resolve()), step=bound.step.name, trial=self._trial,
            fault=bound.step.fault, options=bound.step.with_, target=bound.target,
            kind=handle.kind, handle=handle.name, given=handle.given,
            cluster=ground.uid if handle.on_cluster or ground.embedded else None,
            kubeconfig=ground.cluster.kubeconfig if ground.cluster else None, embedded_pid=ground.embedded_pid,
            holder=f"{socket.gethostname()}:{os.getpid()}", deadline=deadline, state=state,
        )  # fmt: skip
        # As whoever reads it has it: what is held is known again by its being equal.
        return from_json(json.dumps(asdict(undo)))

    def _mend_first(self, held: Undo) -> bool:
        """What a dead holder left open, past its deadline."""
        around = self._around
        said: list[str] = []
        done = Mender(held, "takeover", around.clock, said.append, around.ground.cluster).mend(
            TAKE_OVER_WITHIN_S
        )
        self._tell("inject", "takeover", detail={"from": held.holder, "run": held.run, "said": said})
        return done

    def _others(self) -> list[str]:
        try:
            return self._fault.others()
        except TROUBLE as e:
            return [f"not known: {_words(e)}"]

    def _remarks(self, state: dict[str, Any]) -> list[str]:
        try:
            return self._fault.remarks(state)
        except TROUBLE as e:
            return [f"not known: {_words(e)}"]

    def _give_up(self, undo: Undo, claim: Claim) -> None:
        """Nothing was injected: what was armed and claimed is given back."""
        done, why = self._until(lambda: self._give_back(undo, claim), GIVE_UP_WITHIN_S, heed=False)
        if done is None:
            self._tell("inject", "fail", error=f"nothing was injected; the claim is still open: {why}")
        self._around.guarding.disarm(undo)

    def _inject(self, undo: Undo, claim: Claim, known: dict[str, list[str]]) -> bool:
        """Whether something may have been done."""
        around = self._around
        late_s = around.clock.now() - self._inject_at
        if late_s > FROZEN_S and not claim.ours():
            self._tell("inject", "fail", error="we were held up, and the claim on the target is gone")
            return False
        self._tell("inject", "begin", late_ms=late_s * 1000, detail=known or None)
        if around.stop.is_set():  # the event could not be written: what cannot be told is not done
            return False
        if self._fault.slow:
            self._tell("inject", "commanded")
        try:
            done, why = self._until(lambda: self._command(undo), INJECT_WITHIN_S)
        except CannotInject as e:
            self._tell("inject", "fail", error=_words(e))
            return False
        if done is None:
            self._tell("inject", "fail", error=f"not known whether it was done: {why}")
            return False
        if not self._fault.slow:
            takes_s = self._fault.takes_s(undo.state)
            self._tell("inject", "commanded", detail={"terminating_up_to_s": takes_s} if takes_s else None)
        threading.Thread(target=self._watch, args=(undo,), name="watch", daemon=True).start()
        seen, why = self._until(lambda: self._verify_effective(undo), EFFECTIVE_WITHIN_S)
        if seen is not None:
            self._tell("inject", "effective", detail=seen)
        elif not self._ended():
            self._missing = why or "not seen"
        return True

    def _command(self, undo: Undo) -> dict[str, Any]:
        try:
            self._fault.inject(undo.state)
        except CannotInject:
            raise
        except Exception:
            self._unsure = True
            raise
        return {}

    def _verify_effective(self, undo: Undo) -> dict[str, Any] | None:
        seen = self._fault.effective(undo.state)
        if seen is None or not self._fault.by_asking:
            return seen
        why = self._around.answers(self._bound, UNANSWERED_S)
        if why is None:
            raise NotYet(f"{self._bound.target} still answers")
        return seen | {"asked": why}

    def _watch(self, undo: Undo) -> None:
        words = self._fault.moved(undo.state, self._over.is_set)
        # Past the deadline it was the guardian or the reaper who moved it: they have mended.
        if words and self._around.clock.now() < undo.deadline:
            self._moved = f"{words}; it is left alone"

    def _hold(self, undo: Undo) -> None:
        """Until the window ends: by its time, by a stop, or because somebody else moved the target."""
        around, every_s = self._around, self._fault.every_s
        again_at = self._inject_at + every_s if every_s else self._mend_at
        look_at = around.clock.now() + LATE_LOOK_S
        if self._missing is not None and look_at < self._mend_at:
            self._tell("inject", "waiting", detail={"missing": self._missing})
        while not self._ended() and (now := around.clock.now()) < self._mend_at:
            if self._missing is not None and now >= look_at:
                self._look_late(undo)
                look_at = around.clock.now() + LATE_LOOK_S
                continue
            if now < again_at:
                around.stop.wait(min(LOOK_S, again_at - now, self._mend_at - now))
                continue
            assert every_s is not None, "again_at is the window's end where nothing repeats"
            again_at += every_s
            try:
                self._command(undo)
                self._tell("inject", "again")
            except (CannotInject, OSError, *TROUBLE) as e:
                self._tell("inject", "again", error=_words(e))
        if self._missing is not None and not self._ended():
            self._tell("inject", "fail", error=f"not effective: {self._missing}")

    def _look_late(self, undo: Undo) -> None:
        """Whether it has become effective after all."""
        try:
            seen = self._verify_effective(undo)
        except Exception as e:  # also a mistake of ours: the window's end must come
            self._missing = str(e) if isinstance(e, NotYet) else _words(e)
            return
        if seen is not None:
            self._missing = None
            self._tell("inject", "effective", detail=seen)

    def _ended(self) -> bool:
        return self._moved is not None or self._around.stop.is_set()

    def _mend(self, undo: Undo, claim: Claim) -> None:
        around = self._around
        scheduled = around.clock.now() >= self._mend_at
        late_ms = (around.clock.now() - self._mend_at) * 1000 if scheduled else None
        failed = "it is not known whether the inject was done" if self._unsure else "nothing was injected"
        because = None if scheduled else {"because": self._moved or around.stop.reason or failed}
        self._tell("mend", "begin", late_ms=late_ms, detail=because)
        until_s = max(undo.deadline - around.clock.now(), around.mend_within_s)
        try:
            foreign = self._moved or self._bring_back(undo, claim, until_s)
        except ClaimGone:
            self._tell("mend", "fail", error="the claim is gone: another has mended in our place")
            around.stop.set("error: held up past a fault's deadline; another has mended")
            around.guarding.disarm(undo)
            return
        except NotBack as e:
            self._not_restored(f"{undo.handle} {e}")
            return
        if foreign is not None:
            self._tell("mend", "fail", error=foreign, detail={"foreign": True})
        done, why = self._until(lambda: self._give_back(undo, claim), around.mend_within_s, heed=False)
        if done is None:
            self._tell("mend", "fail", error=f"mended; the claim could not be given back: {why}")
            return
        around.guarding.disarm(undo)
        with self._lock:
            self._outcome.last_mended_at = max(self._outcome.last_mended_at or 0.0, around.clock.now())

    def _bring_back(self, undo: Undo, claim: Claim, within_s: float) -> str | None:
        """None: verified. Otherwise who wanted it otherwise, in words. Raises ClaimGone and NotBack."""
        try:
            done, why = self._until(lambda: self._command_mend(undo, claim), within_s, heed=False)
            if done is None:
                raise NotBack(f"could not be mended: {why}")
            self._tell_mend_commanded()
            seen, why = self._until(lambda: self._verify_mended(undo, claim), within_s, heed=False)
            if seen is None:
                raise NotBack(f"mended, but not verified: {why}")
            self._tell("mend", "effective", detail=seen)
            if self._unsure:
                self._watch_on(undo, claim, within_s)
        except Foreign as e:
            return str(e)
        return None

    def _command_mend(self, undo: Undo, claim: Claim) -> dict[str, Any]:
        if not claim.ours():
            raise ClaimGone
        if self._fault.slow:
            self._tell_mend_commanded()
        self._fault.mend(undo.state)
        return {}

    def _tell_mend_commanded(self) -> None:
        if not self._mend_told:
            self._mend_told = True
            self._tell("mend", "commanded")

    def _look(self, undo: Undo, claim: Claim) -> dict[str, Any] | None:
        """Is it back, as far as its own machinery tells?"""
        if self._unsure:  # the inject may have arrived since the mend was commanded, and would be waited out
            self._command_mend(undo, claim)
        return self._fault.mended(undo.state)

    def _verify_mended(self, undo: Undo, claim: Claim) -> dict[str, Any] | None:
        seen = self._look(undo, claim)
        if seen is None:
            return None
        missing = self._around.answers(self._bound, ANSWERED_S)
        if missing is not None:
            raise NotYet(missing)
        return seen

    def _watch_on(self, undo: Undo, claim: Claim, within_s: float) -> None:
        """As a mender does: a try to inject that was not answered may arrive after the mend. Raises NotBack."""
        over = self._around.clock.now() + WATCH_ON_S
        while self._around.clock.now() < over:
            looks: list[dict[str, Any] | None] = []

            def look(looks: list[dict[str, Any] | None] = looks) -> dict[str, Any] | None:
                looks.append(self._look(undo, claim))
                return looks[-1]

            seen, why = self._until(look, within_s, heed=False)
            lost = None in looks
            if lost and seen is not None:
                seen, why = self._until(lambda: self._verify_mended(undo, claim), within_s, heed=False)
            if seen is None:
                raise NotBack(f"mended, and not seen to be back when it was looked at again: {why}")
            if lost:
                self._tell("mend", "effective", detail=seen | {"again": True})
            threading.Event().wait(WATCH_EVERY_S)

    def _give_back(self, undo: Undo, claim: Claim) -> dict[str, Any]:
        self._fault.disarm(undo.state)
        claim.give_back()
        return {}

    def _until(
        self, verify: Callable[[], dict[str, Any] | None], within_s: float, heed: bool = True
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Try until it holds: (what was seen, None), or (None, why not). `heed`: the window's end ends it too."""
        around = self._around
        until = around.clock.now() + within_s
        if heed:
            until = min(until, self._mend_at)
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
            except (Foreign, ClaimGone):
                raise
            except Exception as e:  # also a mistake of ours: no mend may end with a traceback
                if heed and isinstance(e, CannotInject):
                    raise
                why = _words(e)
                if process_gone(around.ground.embedded_pid):
                    return None, GONE
                pause = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
                failures += 1
            if around.clock.now() + pause > until:
                return None, why
            if not heed:
                threading.Event().wait(pause)
            elif around.stop.wait(pause) or self._moved is not None:
                return None, self._moved or around.stop.reason

    def _not_restored(self, why: str) -> None:
        self._tell("mend", "fail", error=why)
        with self._lock:
            self._outcome.not_restored.append(self._bound.handle.name)

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


class NotBack(Exception):
    """It could not be mended, or not be seen to be; and why."""


class ClaimGone(Exception):
    """Somebody mended in our place and gave the target back: what we would write now could be another's loss."""


def _words(error: Exception) -> str:
    """One line, short enough for an event."""
    if isinstance(error, CannotInject):
        return str(error)[:1000]
    return told(error)
