"""The restore of a fault: fenced by its claim, commanded, verified by a real answer, then the claim is released.

The controller, the guardian, the reaper and `restore` all call `Restorer.restore`. They differ in when they begin, how
long they try, and whether the inject may still arrive (`unsure`).

Which process restores: a claim of another holder means that another process acts, and nothing is touched. If that claim
replaced our deleted record (see `Held.displaces`), wait for it: it ends with the target as our fault has left it. Without any
claim, another process has restored in our place, or someone has deleted the record (`kubectl delete lease --all`). A target
that is not back is claimed again and restored. A target that is back is not written if another process may have restored
it: past the deadline, or where the journal's record is gone too.

A target is verified once its own machinery reports it ready and it has given a complete answer. Where no request can be
sent, the event has `answered: unknown` and the reason. An engine may load its model for many minutes: meanwhile the
missing condition is reported.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from chaos.errors import Altered, Foreign, NotYet
from chaos.fault import Fault
from chaos.kube.cluster import process_gone
from chaos.retry import POLL_S, Seen, Wait, until
from chaos.undo.claim import Claim, Held
from chaos.undo.journal import Undo
from contract.clock import Clock

# An inject may still arrive after its controller died, or after its call was not answered: the record stays open and the
# target is watched. As long as a call may take on the controller's side; see the timeouts of wire.py.
WATCH_ON_S = 6.0
WATCH_EVERY_S = 0.5
AGAIN_WITHIN_S = 60.0
RELEASE_WITHIN_S = 5.0  # at least: the restore is verified, however late
REPORT_AFTER_S, REPORT_EVERY_S = 30.0, 60.0  # of the condition that a restore waits for
EXTEND_EVERY_S = 5.0
POLL_SHARE, POLL_MOST_S = 0.005, 1.0  # the poll interval as a share of the wait, and its maximum
GONE = "the embedded stack and its processes are gone"


class How(StrEnum):
    """How the restore ended."""

    VERIFIED = "verified"
    LEFT_ALONE = "left alone"  # someone else changed the target meanwhile
    ELSEWHERE = "restored elsewhere"  # the claim is gone, and the target is back
    HELD = "held"  # another run holds the target now
    GONE = "gone"  # with its embedded stack
    OPEN = "open"  # not verified in time: the record stays


@dataclass(frozen=True, slots=True)
class End:
    """The end of one restore, and why."""

    how: How
    words: str
    released: bool = True  # False: verified, but the claim could not be deleted; why is in `words`


class Question(Protocol):
    """A real request to the restored target; see `answers.py`."""

    def look(self) -> Seen:
        """`{"answered": "yes"}`, or `{"answered": "unknown", "unanswered": why}` where no request can be sent. Raises NotYet with
        what is still missing."""


class Elsewhere(Exception):
    """The claim is gone, and the target is back."""


class Restorer:
    """`report` gets each stage of the restore, with its detail."""

    def __init__(
        self,
        undo: Undo,
        fault: Fault,
        claim: Claim,
        question: Callable[[float], Question],
        clock: Clock,
        wait: Callable[[float], object],
        report: Callable[[str, dict[str, Any] | None], None],
        unsure: bool,
        extended: Callable[[Undo], None] | None = None,
    ) -> None:
        """`question`: called with the seconds that it may take. `extended`: called after the deadline was moved to the end of the
        restore, once that was commanded; None: the deadline stays."""
        self._undo, self._fault, self._claim, self._clock = undo, fault, claim, clock
        self._make_question, self._sleep, self._report, self._unsure = question, wait, report, unsure
        self._extended = extended
        self._commanded = self._restored = False
        self._note: dict[str, Any] = {}

    def restore(self, over_at: float) -> End:
        """Try until it is verified, someone else has changed the target, or it is `over_at` (unix seconds)."""
        self._begun = self._extend_at = self._clock.now()
        self._over_at, self._report_at = over_at, self._begun + REPORT_AFTER_S
        try:
            return self._restore()
        except Held as e:
            return End(How.HELD, str(e))
        except Elsewhere:
            return End(How.ELSEWHERE, "the claim is gone: another process restored the target")

    def _restore(self) -> End:
        try:
            done, why = self._until(self._command, self._over_at, self._missing)
            if done is None:
                return _open_or_gone("could not be restored", why)
            self._report_commanded()
            seen, why = self._verified(self._over_at)
            if seen is None:
                return _open_or_gone("restored, but not verified", why)
            self._report("effective", seen)
        except Foreign as e:
            return self._release(How.LEFT_ALONE, str(e))
        self._restored = True
        if self._unsure:
            try:
                why = self._watch_on()
            except (Foreign, Held, Elsewhere):
                why = None  # it was restored; later changes by others are not ours
            if why is not None:
                return _open_or_gone("restored, then lost again", why)
        return self._release(How.VERIFIED, _verified_text(seen))

    def _command(self) -> Seen:
        """Raises Held, Elsewhere, Foreign, and what the API or the host may raise."""
        if process_gone(self._undo.embedded_pid):
            raise ProcessLookupError(GONE)  # given up at once, see `_until`
        if not self._ours():
            return {}
        if self._fault.slow:
            self._report_commanded()
        try:
            self._fault.restore(self._undo.state)
        except Altered as e:
            self._record(e.came)
            raise
        return {}

    def _record(self, came: dict[str, Any]) -> None:
        """Write the result of our write on the cluster to the record, where possible: to a later restorer it would look like
        another manager's."""
        fresh = replace(self._undo, state=self._undo.state | came)
        if fresh != self._undo:
            self._undo = fresh
            with contextlib.suppress(Exception):  # the restore continues
                self._claim.rewrite(fresh)

    def _ours(self) -> bool:
        """Whether we may write; the claim is ours then. Raises Held, Elsewhere, and NotYet while waiting for another run."""
        try:
            return self._claimed()
        except Held as e:
            if self._restored or not e.displaces(self._undo):
                raise
            raise NotYet(str(e)) from None

    def _claimed(self) -> bool:
        if self._claim.stands():
            return True
        if self._is_back():
            # Other processes of ours act when the controller is gone, or past its deadline. A target that came back by itself
            # before that did not need them: someone has deleted only the record.
            if self._claim.closed() or (not self._unsure and self._clock.now() > self._undo.deadline):
                raise Elsewhere
            if self._unsure:
                return False  # nothing to write, unless the inject still arrives
        self._claim.take_again(self._clock.now())
        self._note = {"claimed_again": "its record had been deleted"}
        return True

    def _is_back(self) -> bool:
        try:
            return self._fault.restored(self._undo.state) is not None
        except NotYet:
            return False

    def _report_commanded(self) -> None:
        if not self._commanded:
            self._commanded = True
            self._report("commanded", self._note or None)

    def _look(self) -> Seen | None:
        """Is it back, by its own machinery?"""
        if self._unsure:  # the inject may have arrived since, and the wait would never end
            self._command()
        return self._fault.restored(self._undo.state)

    def _verified(self, over_at: float) -> tuple[Seen | None, str | None]:
        question: Question | None = None

        def verify() -> Seen | None:
            nonlocal question
            self._extend()
            seen = self._look()
            if seen is None:
                raise NotYet(self._fault.missing)
            if question is None:
                question = self._make_question(max(0.0, over_at - self._clock.now()))
            return seen | question.look()

        return self._until(verify, over_at, self._missing)

    def _missing(self, why: str) -> float:
        """Report what is missing, once a minute; returns the seconds until the next look."""
        now = self._clock.now()
        waited_s = now - self._begun
        if now >= self._report_at:
            self._report_at = now + REPORT_EVERY_S
            self._report("waiting", {"missing": why, "waited_s": round(waited_s, 1)})
        return min(POLL_MOST_S, max(POLL_S, POLL_SHARE * waited_s))

    def _watch_on(self) -> str | None:
        """Why it is not back once no inject can arrive any more; None: it is."""
        over = self._clock.now() + WATCH_ON_S
        while self._clock.now() < over:
            looks: list[Seen | None] = []

            def look(looks: list[Seen | None] = looks) -> Seen | None:
                try:
                    seen = self._look()
                except NotYet:
                    looks.append(None)
                    raise
                looks.append(seen)
                return seen

            again_by = max(self._over_at, self._clock.now() + AGAIN_WITHIN_S)
            seen, why = self._until(look, again_by)
            lost = None in looks
            if lost and seen is not None:
                seen, why = self._verified(again_by)
            if seen is None:
                return why
            if lost:
                self._report("effective", seen | {"again": True})
            self._sleep(WATCH_EVERY_S)
        return None

    def _extend(self) -> None:
        """At the record's deadline others act in our place. Once the restore was commanded they need not act before our wait ends,
        so the deadline moves there. A failure here is harmless: they would restore a restored target."""
        now = self._clock.now()
        if (
            self._extended is None
            or self._over_at - self._undo.deadline < EXTEND_EVERY_S
            or now < self._extend_at
        ):
            return
        self._extend_at = now + EXTEND_EVERY_S
        fresh = replace(self._undo, deadline=self._over_at)
        try:
            self._claim.rewrite(fresh)
            self._undo = fresh
            self._extended(self._undo)
        except Exception:  # the restore continues
            return

    def _release(self, how: How, words: str) -> End:
        def release() -> Seen:
            self._fault.disarm(self._undo.state)
            self._claim.release()
            return {}

        done, why = self._until(release, max(self._over_at, self._clock.now() + RELEASE_WITHIN_S))
        if done is None:
            return End(how, f"{words}; the claim could not be released: {why}", released=False)
        return End(how, words)

    def _until(
        self,
        holds: Callable[[], Seen | None],
        over_at: float,
        missing: Callable[[str], float] = lambda why: POLL_S,
    ) -> tuple[Seen | None, str | None]:
        wait: Wait = lambda pause: (self._sleep(pause), None)[1]  # noqa: E731
        gone = lambda: GONE if process_gone(self._undo.embedded_pid) else None  # noqa: E731
        return until(holds, over_at, self._clock.now, wait, (Foreign, Held, Elsewhere), gone, missing)


def _open_or_gone(what: str, why: str | None) -> End:
    if why == GONE:
        return End(How.GONE, GONE)
    return End(How.OPEN, f"{what}: {why}")


def _verified_text(seen: Seen) -> str:
    """Text for a log line: what was seen, and whether it answered."""
    shown = ", ".join(f"{k} {v}" for k, v in seen.items() if k not in ("answered", "unanswered"))
    if seen["answered"] == "yes":
        return f"restored ({shown}), verified by an answer"
    return f"restored ({shown}), answered: {seen['answered']}: {seen['unanswered']}"
