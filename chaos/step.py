"""One step of one round: its undo record, the inject, the window, the restore.

Once its undo record is open, nothing ends it before the restore was verified or its time was up.
"""

import threading
from collections.abc import Callable
from typing import Any

from chaos import faults, preflight
from chaos.errors import CannotInject, Foreign, NotYet
from chaos.fault import Fault
from chaos.kube.cluster import API_ERRORS, process_gone
from chaos.plan import Bound
from chaos.retry import Seen, until, words
from chaos.round import RoundOutcome, Surroundings
from chaos.undo.claim import Claim, Held
from chaos.undo.deputy import Deputy
from chaos.undo.journal import Undo
from chaos.undo.restorer import GONE, How, Restorer
from contract.records import Event

PREPARE_S = 3.0  # the undo record is made this long before the inject, so that the inject itself is on time
LOOK_S = 0.1  # how soon a window ends after someone else changed the target
FROZEN_S = 0.5  # later than this, someone may have acted in our place meanwhile
INJECT_WITHIN_S = 10.0
# After that it is reported as `waiting`, and looked for at a calmer pace until the step ends.
EFFECTIVE_WITHIN_S = 60.0
LATE_LOOK_S = 0.5
# The most that is added to a deadline for what the target takes beyond that by its own account.
TAKES_MOST_S = 900.0
TAKE_OVER_WITHIN_S = 30.0
GIVE_UP_WITHIN_S = 30.0
UNANSWERED_S = 3.0  # a tier that leaves a request unanswered this long is silent
# A record's deadline is when others act in the controller's place. By then the restore must have been commanded; how long
# it may take from there, `restore_within` says, and the deadline moves there (see restorer.py).
COMMANDED_WITHIN_S = 180.0
KEEP_EVERY_S = 5.0  # how often a fault's record is looked after while the fault lasts


class StepRun:
    """One step of one round."""

    def __init__(
        self,
        bound: Bound,
        around: Surroundings,
        started_at: float,
        trial: int,
        outcome: RoundOutcome,
        lock: threading.Lock,
    ) -> None:
        self._bound, self._around, self._trial = bound, around, trial
        self._outcome, self._lock = outcome, lock
        self._inject_at = started_at + bound.step.at
        self._restore_at = self._inject_at + bound.step.for_
        self._fault: Fault = faults.make(bound.step.fault, around.ground.cluster, bound.on, bound.step.with_)
        self._over = threading.Event()  # the window has ended
        self._moved: str | None = None  # by somebody else, in words
        self._restore_told = False  # as commanded
        self._refused: str | None = None  # why the inject was not made as it should be
        self._unsure = False  # a try to inject was not answered: it may still arrive
        self._missing: str | None = None  # what a fault that was made lacks to be effective

    def run(self, before: threading.Event | None, ended: threading.Event) -> None:
        """`before`: the end of the earlier step on the same target, which holds its claim; `ended`: our own."""
        try:
            if before is not None:
                before.wait()
            self._run()
        except Exception as e:
            # A mistake of ours. The guardian restores when we leave; that all is well must not be said.
            self._not_restored(f"the step broke off: {type(e).__name__}: {e}")
            raise
        finally:
            ended.set()

    def _run(self) -> None:
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
        if around.clock.now() >= self._restore_at:
            self._tell("inject", "fail", error="the step was over before its target could be claimed")
            self._give_up(undo, claim)
            return
        try:
            if self._inject(undo, claim, known):
                self._hold(undo)
        finally:
            # Whatever happened above, known or not: the way back is taken.
            self._over.set()
            self._restore(undo, claim)

    def _prepare(self) -> tuple[Undo, Claim, dict[str, list[str]]] | None:
        """The undo record, on disk and in the Lease, and what else is known of the target: who might move it besides,
        and where it is not whole. None: refused, untouched."""
        around, bound = self._around, self._bound
        deadline = self._restore_at + min(around.restore_within_s, COMMANDED_WITHIN_S)
        over_at = self._restore_at + around.restore_within_s  # what we act with must last until then
        taking: tuple[Undo, Claim] | None = None
        try:
            preflight.check(
                self._fault, bound.handle, bound.unprotected, around.ground, over_at, around.clock.now()
            )
            claim = Claim(around.journal, around.ground.cluster, self._record(deadline, {}))
            claim.must_be_free(around.clock.now(), self._restore_first)
            state = self._fault.snapshot()
            # What goes slowly makes room slowly for what comes back. What is usual the deadline has room for already.
            more_s = min(max(0.0, self._fault.takes_s(state) - EFFECTIVE_WITHIN_S), TAKES_MOST_S)
            deadline, over_at = deadline + more_s, over_at + more_s
            if bound.handle.on_cluster and around.ground.cluster is not None:
                ended = preflight.outlived(around.ground.cluster, over_at)
                if ended:
                    raise CannotInject("; ".join(ended))
            undo = self._record(deadline, state)
            found = {"others": self._others(), "remarks": self._remarks(state)}
            taking = undo, Claim(around.journal, around.ground.cluster, undo)
            taking[1].take(around.clock.now())
            around.guardian_link.arm(undo)
            self._fault.arm(undo.state, deadline - around.clock.now())
        except (CannotInject, OSError, *API_ERRORS) as e:
            self._tell("inject", "fail", error=words(e))
            if taking is not None:
                self._give_up(*taking)
            return None
        return *taking, {key: lines for key, lines in found.items() if lines}

    def _record(self, deadline: float, state: dict[str, Any]) -> Undo:
        return self._around.record(self._bound, self._trial, deadline, state, self._fault.by_http)

    def _restore_first(self, held: Undo) -> bool:
        """What a dead holder left open, past its deadline."""
        around = self._around
        said: list[str] = []
        done = Deputy(
            held,
            "takeover",
            around.clock,
            said.append,
            cluster=around.ground.cluster,
            stack=around.stack,
            wait=around.sleep,
        ).restore(TAKE_OVER_WITHIN_S)
        self._tell("inject", "takeover", detail={"from": held.holder, "run": held.run, "said": said})
        return done

    def _others(self) -> list[str]:
        try:
            return self._fault.others()
        except API_ERRORS as e:
            return [f"not known: {words(e)}"]

    def _remarks(self, state: dict[str, Any]) -> list[str]:
        try:
            return self._fault.remarks(state)
        except API_ERRORS as e:
            return [f"not known: {words(e)}"]

    def _give_up(
        self, undo: Undo, claim: Claim, what: str = "nothing was injected; the claim is still open"
    ) -> None:
        """Nothing is to be restored: what was armed and claimed is given back."""
        done, why = self._until(lambda: self._give_back(undo, claim), GIVE_UP_WITHIN_S, heed=False)
        if done is None:
            self._tell("inject", "fail", error=f"{what}: {why}")
        self._around.guardian_link.disarm(undo)

    def _inject(self, undo: Undo, claim: Claim, known: dict[str, list[str]]) -> bool:
        """Whether something may have been done."""
        around = self._around
        late_s = around.clock.now() - self._inject_at
        if late_s > FROZEN_S and not claim.is_ours():
            self._tell("inject", "fail", error="the controller stalled and lost its claim on the target")
            return False
        self._tell("inject", "begin", late_ms=late_s * 1000, detail=known or None)
        if around.stop.is_set():  # the event could not be written: what cannot be told is not done
            return False
        if self._fault.slow:
            self._tell("inject", "commanded")
        try:
            done, why = self._until(lambda: self._command(undo), INJECT_WITHIN_S)
        except CannotInject as e:
            self._refused = words(e)  # a write that the cluster altered was made all the same
            self._tell("inject", "fail", error=self._refused)
            return False
        if done is None:
            self._tell("inject", "fail", error=f"not known whether it was done: {why}")
            return False
        if not self._fault.slow:
            takes_s = self._fault.takes_s(undo.state)
            self._tell("inject", "commanded", detail={"terminating_up_to_s": takes_s} if takes_s else None)
        threading.Thread(target=self._watch, args=(undo,), name="watch", daemon=True).start()
        threading.Thread(target=self._keep, args=(undo, claim), name="keep", daemon=True).start()
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
        if seen is None or not self._fault.by_sending:
            return seen
        # A restore that is due must not wait for an answer that does not come.
        left_s = self._restore_at - self._around.clock.now()
        why = self._around.answers(self._bound, min(UNANSWERED_S, max(LOOK_S, left_s)))
        if why is None:
            raise NotYet(f"{self._bound.target} still answers")
        return seen | {"asked": why}

    def _watch(self, undo: Undo) -> None:
        moved = self._fault.moved(undo.state, self._over.is_set)
        # Past the deadline it was the guardian or the reaper who moved it: they have restored.
        if moved and self._around.clock.now() < undo.deadline:
            self._moved = f"{moved}; it is left alone"

    def _keep(self, undo: Undo, claim: Claim) -> None:
        """While the fault lasts its record stands, on the disk and on the cluster: without it nobody could restore in our place."""
        around = self._around
        while not around.wait(self._over, KEEP_EVERY_S):
            try:
                if claim.keep(around.clock.now()):
                    self._tell("inject", "reclaimed")
            except Held as e:
                if e.displaces(undo):  # to be restored all the same, see restorer.py
                    around.stop.set(f"error: {e}")
                else:
                    self._moved = str(e)
                return
            except (OSError, *API_ERRORS):
                continue  # it is looked at again

    def _hold(self, undo: Undo) -> None:
        """Until the window ends: by its time, by a stop, or because somebody else moved the target."""
        around, every_s = self._around, self._fault.every_s
        again_at = self._inject_at + every_s if every_s else self._restore_at
        look_at = around.clock.now() + LATE_LOOK_S
        if self._missing is not None and look_at < self._restore_at:
            self._tell("inject", "waiting", detail={"missing": self._missing})
        while not self._ended() and (now := around.clock.now()) < self._restore_at:
            if self._missing is not None and now >= look_at:
                self._look_late(undo)
                look_at = around.clock.now() + LATE_LOOK_S
                continue
            if now < again_at:
                around.stop.wait(min(LOOK_S, again_at - now, self._restore_at - now))
                continue
            assert every_s is not None, "again_at is the window's end where nothing repeats"
            again_at += every_s
            try:
                self._command(undo)
                self._tell("inject", "again")
            except (CannotInject, OSError, *API_ERRORS) as e:
                self._tell("inject", "again", error=words(e))
        if self._missing is not None and not self._ended():
            self._tell("inject", "fail", error=f"not effective: {self._missing}")

    def _look_late(self, undo: Undo) -> None:
        """Whether it has become effective after all."""
        try:
            seen = self._verify_effective(undo)
        except Exception as e:  # also a mistake of ours: the window's end must come
            self._missing = str(e) if isinstance(e, NotYet) else words(e)
            return
        if seen is not None:
            self._missing = None
            self._tell("inject", "effective", detail=seen)

    def _ended(self) -> bool:
        return self._moved is not None or self._around.stop.is_set()

    def _restore(self, undo: Undo, claim: Claim) -> None:
        """By the one way back of `restorer.py`."""
        around = self._around
        displaced = claim.displaced(undo) if self._moved is not None else None
        if displaced is not None:  # it is that one's fault which has moved the target
            self._moved = None
            around.stop.set(f"error: {displaced}")
        scheduled = around.clock.now() >= self._restore_at
        late_ms = (around.clock.now() - self._restore_at) * 1000 if scheduled else None
        failed = (
            "it is not known whether the inject was done"
            if self._unsure
            else self._refused or "nothing was injected"
        )
        because = None if scheduled else {"because": self._moved or around.stop.reason or failed}
        self._tell("restore", "begin", late_ms=late_ms, detail=because)
        if self._moved is not None:
            self._left_alone(undo, claim, self._moved)
            return
        end = Restorer(
            undo, self._fault, claim, lambda within_s: around.question(self._bound, within_s), around.clock, around.sleep,
            lambda stage, detail: self._tell("restore", stage, detail=detail), self._unsure, around.guardian_link.arm,
        ).restore(around.clock.now() + around.restore_within_s)  # fmt: skip
        match end.how:
            case How.OPEN | How.GONE:
                self._not_restored(f"{undo.handle}: {end.words}")
                return
            case How.ELSEWHERE | How.HELD:
                self._tell("restore", "fail", error=end.words)
                around.stop.set(f"error: {end.words}")
            case How.LEFT_ALONE:
                self._tell("restore", "fail", error=end.words, detail={"foreign": True})
            case How.VERIFIED:
                if not end.released:
                    self._tell("restore", "fail", error=end.words, detail={"back": True})
                    return
                with self._lock:
                    self._outcome.last_restored_at = max(
                        self._outcome.last_restored_at or 0.0, around.clock.now()
                    )
        around.guardian_link.disarm(undo)

    def _left_alone(self, undo: Undo, claim: Claim, why: str) -> None:
        """Someone else moved the target within the window: nothing is written."""
        self._tell("restore", "fail", error=why, detail={"foreign": True})
        self._give_up(undo, claim, "left alone; the claim could not be released")

    def _give_back(self, undo: Undo, claim: Claim) -> dict[str, Any]:
        self._fault.disarm(undo.state)
        claim.release()
        return {}

    def _until(
        self, holds: Callable[[], Seen | None], within_s: float, heed: bool = True
    ) -> tuple[Seen | None, str | None]:
        """Try until it holds: (what was seen, None), or (None, why not). `heed`: the window's end ends it too."""
        around = self._around
        over_at = around.clock.now() + within_s
        gone = lambda: GONE if process_gone(around.ground.embedded_pid) else None  # noqa: E731
        if not heed:
            sleep = lambda pause: (around.sleep(pause), None)[1]  # noqa: E731
            return until(holds, over_at, around.clock.now, sleep, (Foreign,), gone)

        def wait(pause: float) -> str | None:
            return (
                self._moved or around.stop.reason
                if around.stop.wait(pause) or self._moved is not None
                else None
            )

        return until(
            holds, min(over_at, self._restore_at), around.clock.now, wait, (Foreign, CannotInject), gone
        )

    def _not_restored(self, why: str) -> None:
        with self._lock:  # before it is told: that it is not restored must not depend on who listens
            self._outcome.not_restored.append(self._bound.handle.name)
        self._tell("restore", "fail", error=why)

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
