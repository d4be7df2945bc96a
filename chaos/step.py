"""One step of one round: its undo record, the inject, the window, the restore.

After the undo record is written, a step ends only when the restore is verified or its time is up.
"""

import threading
from collections.abc import Callable
from typing import Any

from chaos import faults, preflight
from chaos.errors import CannotInject, Foreign, NotYet
from chaos.fault import Fault
from chaos.kube.cluster import API_ERRORS, process_gone
from chaos.plan import Bound
from chaos.retry import Seen, error_text, until
from chaos.round import RoundOutcome, StepContext
from chaos.undo.claim import Claim, Held
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Undo
from chaos.undo.restorer import GONE, How, Restorer
from contract.records import Event

PREPARE_S = 3.0  # the undo record is written this long before the inject, so that the inject is on time
LOOK_S = 0.1  # within this time the window ends after someone else changed the target
FROZEN_S = 0.5  # later than this, another process may have restored in this one's place
INJECT_WITHIN_S = 10.0
# After that the event `waiting` is recorded, and the check goes on more slowly until the step ends.
EFFECTIVE_WITHIN_S = 60.0
LATE_LOOK_S = 0.5
# The most that is added to a deadline for the time that the target itself states beyond that.
TAKES_MOST_S = 900.0
TAKE_OVER_WITHIN_S = 30.0
GIVE_UP_WITHIN_S = 30.0
UNANSWERED_S = 3.0  # a tier that leaves a request unanswered this long is silent
# At a record's deadline others restore in the controller's place. By then the restore must have been commanded. From there
# it may take `restore_within`, and the deadline moves accordingly (see restorer.py).
COMMANDED_WITHIN_S = 180.0
KEEP_EVERY_S = 5.0  # how often a fault's record is checked while the fault lasts


class StepRun:
    """One step of one round."""

    def __init__(
        self,
        bound: Bound,
        context: StepContext,
        started_at: float,
        trial: int,
        outcome: RoundOutcome,
        lock: threading.Lock,
    ) -> None:
        self._bound, self._context, self._trial = bound, context, trial
        self._outcome, self._lock = outcome, lock
        self._inject_at = started_at + bound.step.at
        self._restore_at = self._inject_at + bound.step.for_
        self._fault: Fault = faults.make(bound.step.fault, context.ground.cluster, bound.on, bound.step.with_)
        self._over = threading.Event()  # the window has ended
        self._moved: str | None = None  # how someone else changed the target
        self._refused: str | None = None  # why the inject was refused
        self._unsure = False  # an inject call got no answer: it may still arrive
        self._missing: str | None = None  # what an injected fault still lacks to be effective

    def run(self, before: threading.Event | None, ended: threading.Event) -> None:
        """`before`: the end of the earlier step on the same target, which holds the claim; `ended`: the end of this step."""
        try:
            if before is not None:
                before.wait()
            self._run()
        except Exception as e:
            # A bug. The guardian restores when this process exits; the step must not count as restored.
            self._not_restored(f"the step failed: {type(e).__name__}: {e}")
            raise
        finally:
            ended.set()

    def _run(self) -> None:
        context = self._context
        if context.stop.wait(self._inject_at - PREPARE_S - context.clock.now()):
            return
        prepared = self._prepare()
        if prepared is None:
            return
        undo, claim, known = prepared
        if context.stop.wait(self._inject_at - context.clock.now()):
            self._give_up(undo, claim)
            return
        if context.clock.now() >= self._restore_at:
            self._event("inject", "fail", error="the step ended before its target could be claimed")
            self._give_up(undo, claim)
            return
        try:
            if self._inject(undo, claim, known):
                self._hold(undo)
        finally:
            # Whatever happened above: restore.
            self._over.set()
            self._restore(undo, claim)

    def _prepare(self) -> tuple[Undo, Claim, dict[str, list[str]]] | None:
        """Write the undo record, on disk and in the Lease. The third value: other controllers of the target, and remarks, such
        as missing Pods. None: refused, nothing was changed."""
        context, bound = self._context, self._bound
        deadline = self._restore_at + min(context.restore_within_s, COMMANDED_WITHIN_S)
        over_at = self._restore_at + context.restore_within_s  # the credential must last until then
        taking: tuple[Undo, Claim] | None = None
        try:
            preflight.check(
                self._fault, bound.handle, bound.unprotected, context.ground, over_at, context.clock.now()
            )
            claim = Claim(context.journal, context.ground.cluster, self._record(deadline, {}))
            claim.must_be_free(context.clock.now(), self._restore_first)
            state = self._fault.snapshot()
            # What terminates slowly also delays its replacement. The deadline already covers the usual time.
            more_s = min(max(0.0, self._fault.takes_s(state) - EFFECTIVE_WITHIN_S), TAKES_MOST_S)
            deadline, over_at = deadline + more_s, over_at + more_s
            if bound.handle.on_cluster and context.ground.cluster is not None:
                expired = preflight.expiry(context.ground.cluster, over_at)
                if expired:
                    raise CannotInject("; ".join(expired))
            undo = self._record(deadline, state)
            found = {"others": self._others(), "remarks": self._remarks(state)}
            taking = undo, Claim(context.journal, context.ground.cluster, undo)
            taking[1].take(context.clock.now())
            context.guardian_link.arm(undo)
            self._fault.arm(undo.state, deadline - context.clock.now())
        except (CannotInject, OSError, *API_ERRORS) as e:
            self._event("inject", "fail", error=error_text(e))
            if taking is not None:
                self._give_up(*taking)
            return None
        return *taking, {key: lines for key, lines in found.items() if lines}

    def _record(self, deadline: float, state: dict[str, Any]) -> Undo:
        return self._context.record(self._bound, self._trial, deadline, state, self._fault.by_http)

    def _restore_first(self, held: Undo) -> bool:
        """Restore what a dead holder left open, past its deadline."""
        context = self._context
        lines: list[str] = []
        done = Deputy(
            held,
            "takeover",
            context.clock,
            lines.append,
            cluster=context.ground.cluster,
            stack=context.stack,
            wait=context.sleep,
        ).restore(TAKE_OVER_WITHIN_S)
        self._event("inject", "takeover", detail={"from": held.holder, "run": held.run, "said": lines})
        return done

    def _others(self) -> list[str]:
        try:
            return self._fault.others()
        except API_ERRORS as e:
            return [f"unknown: {error_text(e)}"]

    def _remarks(self, state: dict[str, Any]) -> list[str]:
        try:
            return self._fault.remarks(state)
        except API_ERRORS as e:
            return [f"unknown: {error_text(e)}"]

    def _give_up(
        self, undo: Undo, claim: Claim, what: str = "nothing was injected; the claim is still open"
    ) -> None:
        """Nothing needs to be restored: disarm the dead-man and give the claim back."""
        done, why = self._until(lambda: self._give_back(undo, claim), GIVE_UP_WITHIN_S, heed=False)
        if done is None:
            self._event("inject", "fail", error=f"{what}: {why}")
        self._context.guardian_link.disarm(undo)

    def _inject(self, undo: Undo, claim: Claim, known: dict[str, list[str]]) -> bool:
        """Whether the fault may have been injected."""
        context = self._context
        late_s = context.clock.now() - self._inject_at
        if late_s > FROZEN_S and not claim.is_ours():
            self._event("inject", "fail", error="the controller stalled and lost its claim on the target")
            return False
        self._event("inject", "begin", late_ms=late_s * 1000, detail=known or None)
        if context.stop.is_set():  # the event could not be written: no fault without its event
            return False
        if self._fault.slow:
            self._event("inject", "commanded")
        try:
            done, why = self._until(lambda: self._command(undo), INJECT_WITHIN_S)
        except CannotInject as e:
            self._refused = error_text(e)  # a write that the cluster altered is a change all the same
            self._event("inject", "fail", error=self._refused)
            return False
        if done is None:
            self._event("inject", "fail", error=f"unknown whether it was done: {why}")
            return False
        if not self._fault.slow:
            takes_s = self._fault.takes_s(undo.state)
            self._event("inject", "commanded", detail={"terminating_up_to_s": takes_s} if takes_s else None)
        threading.Thread(target=self._watch, args=(undo,), name="watch", daemon=True).start()
        threading.Thread(target=self._keep, args=(undo, claim), name="keep", daemon=True).start()
        seen, why = self._until(lambda: self._verify_effective(undo), EFFECTIVE_WITHIN_S)
        if seen is not None:
            self._event("inject", "effective", detail=seen)
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
        if seen is None or not self._fault.by_sending:
            return seen
        # A due restore must not wait for an answer that does not come.
        left_s = self._restore_at - self._context.clock.now()
        why = self._context.answers(self._bound, min(UNANSWERED_S, max(LOOK_S, left_s)))
        if why is None:
            raise NotYet(f"{self._bound.target} still answers")
        return seen | {"unanswered": why}

    def _watch(self, undo: Undo) -> None:
        moved = self._fault.moved(undo.state, self._over.is_set)
        # After the deadline the guardian or the reaper changed it: they have restored.
        if moved and self._context.clock.now() < undo.deadline:
            self._moved = f"{moved}; it is left alone"

    def _keep(self, undo: Undo, claim: Claim) -> None:
        """Keep the record on disk and on the cluster while the fault lasts: no other process can restore without it."""
        context = self._context
        while not context.wait(self._over, KEEP_EVERY_S):
            try:
                if claim.keep(context.clock.now()):
                    self._event("inject", "reclaimed")
            except Held as e:
                if e.displaces(undo):  # to be restored all the same, see restorer.py
                    context.stop.set(f"error: {e}")
                else:
                    self._moved = str(e)
                return
            except (OSError, *API_ERRORS):
                continue  # checked again

    def _hold(self, undo: Undo) -> None:
        """Wait until the window ends: by its time, by a stop, or because someone else changed the target."""
        context, every_s = self._context, self._fault.every_s
        again_at = self._inject_at + every_s if every_s else self._restore_at
        look_at = context.clock.now() + LATE_LOOK_S
        if self._missing is not None and look_at < self._restore_at:
            self._event("inject", "waiting", detail={"missing": self._missing})
        while not self._ended() and (now := context.clock.now()) < self._restore_at:
            if self._missing is not None and now >= look_at:
                self._look_late(undo)
                look_at = context.clock.now() + LATE_LOOK_S
                continue
            if now < again_at:
                context.stop.wait(min(LOOK_S, again_at - now, self._restore_at - now))
                continue
            assert every_s is not None, "without repetition again_at is the end of the window"
            again_at += every_s
            try:
                self._command(undo)
                self._event("inject", "again")
            except (CannotInject, OSError, *API_ERRORS) as e:
                self._event("inject", "again", error=error_text(e))
        if self._missing is not None and not self._ended():
            self._event("inject", "fail", error=f"not effective: {self._missing}")

    def _look_late(self, undo: Undo) -> None:
        """Check whether the fault has become effective late."""
        try:
            seen = self._verify_effective(undo)
        except Exception as e:  # also a bug: the window must still end
            self._missing = str(e) if isinstance(e, NotYet) else error_text(e)
            return
        if seen is not None:
            self._missing = None
            self._event("inject", "effective", detail=seen)

    def _ended(self) -> bool:
        return self._moved is not None or self._context.stop.is_set()

    def _restore(self, undo: Undo, claim: Claim) -> None:
        """Restore through `restorer.py`, the only implementation."""
        context = self._context
        displaced = claim.displaced(undo) if self._moved is not None else None
        if displaced is not None:  # that claim's fault has changed the target
            self._moved = None
            context.stop.set(f"error: {displaced}")
        scheduled = context.clock.now() >= self._restore_at
        late_ms = (context.clock.now() - self._restore_at) * 1000 if scheduled else None
        failed = (
            "unknown whether the inject was done" if self._unsure else self._refused or "nothing was injected"
        )
        because = None if scheduled else {"because": self._moved or context.stop.reason or failed}
        self._event("restore", "begin", late_ms=late_ms, detail=because)
        if self._moved is not None:
            self._left_alone(undo, claim, self._moved)
            return
        end = Restorer(
            undo, self._fault, claim, lambda within_s: context.question(self._bound, within_s), context.clock, context.sleep,
            lambda stage, detail: self._event("restore", stage, detail=detail), self._unsure, context.guardian_link.arm,
        ).restore(context.clock.now() + context.restore_within_s)  # fmt: skip
        match end.how:
            case How.OPEN | How.GONE:
                self._not_restored(f"{undo.handle}: {end.words}")
                return
            case How.ELSEWHERE | How.HELD:
                self._event("restore", "fail", error=end.words)
                context.stop.set(f"error: {end.words}")
            case How.LEFT_ALONE:
                self._event("restore", "fail", error=end.words, detail={"foreign": True})
            case How.VERIFIED:
                if not end.released:
                    self._event("restore", "fail", error=end.words, detail={"back": True})
                    return
                with self._lock:
                    self._outcome.last_restored_at = max(
                        self._outcome.last_restored_at or 0.0, context.clock.now()
                    )
        context.guardian_link.disarm(undo)

    def _left_alone(self, undo: Undo, claim: Claim, why: str) -> None:
        """Someone else changed the target within the window: write nothing to it."""
        self._event("restore", "fail", error=why, detail={"foreign": True})
        self._give_up(undo, claim, "left alone; the claim could not be given back")

    def _give_back(self, undo: Undo, claim: Claim) -> dict[str, Any]:
        self._fault.disarm(undo.state)
        claim.release()
        return {}

    def _until(
        self, holds: Callable[[], Seen | None], within_s: float, heed: bool = True
    ) -> tuple[Seen | None, str | None]:
        """Try until it holds: (what was seen, None), or (None, why not). `heed`: the end of the window ends it too."""
        context = self._context
        over_at = context.clock.now() + within_s
        gone = lambda: GONE if process_gone(context.ground.embedded_pid) else None  # noqa: E731
        if not heed:
            sleep = lambda pause: (context.sleep(pause), None)[1]  # noqa: E731
            return until(holds, over_at, context.clock.now, sleep, (Foreign,), gone)

        def wait(pause: float) -> str | None:
            return (
                self._moved or context.stop.reason
                if context.stop.wait(pause) or self._moved is not None
                else None
            )

        return until(
            holds, min(over_at, self._restore_at), context.clock.now, wait, (Foreign, CannotInject), gone
        )

    def _not_restored(self, why: str) -> None:
        with self._lock:  # before the event: the outcome must not depend on its receiver
            self._outcome.not_restored.append(self._bound.handle.name)
        self._event("restore", "fail", error=why)

    def _event(
        self, move: str, stage: str, late_ms: float | None = None, detail: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:  # fmt: skip
        step = self._bound.step
        context = self._context
        context.on_event(
            Event(
                at=context.clock.now(),
                run=context.run,
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
