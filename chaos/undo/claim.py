"""The claim on a target: its record in the journal and, on a cluster, its Lease. Taken before the inject, released
after the verified restore.

A claim that is still open past its deadline has a dead holder: another run takes it over, and only by restoring first.
A claim whose record someone has deleted, on the cluster or on the disk, is taken again.
"""

import threading
from collections.abc import Callable
from typing import Any

from chaos.errors import CannotInject
from chaos.kube.cluster import API_ERRORS, Cluster
from chaos.undo import lease
from chaos.undo.journal import Journal, Taken, Undo
from contract.printable import clean

RestoreFirst = Callable[[Undo], bool]
"""Restores the fault of a dead holder; whether it is closed."""


class Held(Exception):
    """Another run holds the target: we must not write it. `since`: unix seconds at which it was claimed; None: unknown."""

    def __init__(self, words: str, since: float | None = None) -> None:
        super().__init__(words)
        self.since = since

    def displaces(self, undo: Undo) -> bool:
        """Whether that claim was taken while ours was valid. Nothing takes over before our deadline, so our record had been deleted,
        and that run will restore the target to the state that our fault left. A later claim was taken by restoring ours first."""
        return self.since is not None and self.since <= undo.deadline


class Claim:
    """One claim, held by its controller or by a process that restores in the controller's place.

    `journal`: None where the record came from a Lease: this machine's journal does not have it.
    """

    def __init__(self, journal: Journal | None, cluster: Cluster | None, undo: Undo) -> None:
        self._journal, self._undo = journal, undo
        self._cluster = cluster if undo.target_handle.on_cluster else None
        self._lock = threading.Lock()  # `keep` must not retake a claim that is being released
        self._released = False
        self._whole = True  # whether the Lease was complete when last read …
        self._found: dict[str, Any] | None = None  # … as this

    def must_be_free(self, now: float, restore_first: RestoreFirst) -> None:
        """Raises CannotInject, naming the holder. Call before the snapshot: a target that another run has taken away must not
        be mistaken for an empty one."""
        assert self._journal is not None, "an injecting run has a journal"
        held = self._journal.held(self._undo)
        if held is not None:
            self._take_over(held, now, restore_first)
            self._journal.close(held)
        if self._cluster is not None and (found := lease.read(self._cluster, self._undo)) is not None:
            self._take_over(lease.holder_in(self._cluster, found, now), now, restore_first)

    def take(self, now: float) -> None:
        """When it returns, the record is on disk and, on a cluster, in the Lease. Raises CannotInject, OSError and API_ERRORS."""
        undo = self._undo
        assert self._journal is not None, "an injecting run has a journal"
        try:
            self._journal.open(undo)
        except Taken as e:
            raise CannotInject(held_by(e.undo)) from None
        if self._cluster is None:
            return
        if lease.take(self._cluster, undo, now) is None:
            self._journal.close(undo)
            found = lease.read(self._cluster, undo)
            raise CannotInject(
                held_by(lease.holder_in(self._cluster, found, now))
                if found
                else f"another run is claiming {undo.handle}"
            )

    def stands(self) -> bool:
        """False: there is no claim on the target, ours or another run's. Raises Held where another run has one."""
        if self._cluster is None:
            if self._journal is None:
                return True
            try:
                held = self._journal.held(self._undo)
            except (OSError, ValueError):
                return True  # an unreadable record must not prevent a restore
            if held is not None and not held.same_fault(self._undo):
                raise Held(f"{held_by(held)}; not touched")
            return held is not None
        found = lease.read(self._cluster, self._undo)
        if found is None:
            return False
        if not lease.carries(found, self._undo):
            holder = clean(str((found.get("spec") or {}).get("holderIdentity")))
            raise Held(f"{self._undo.handle} is held by {holder} now; not touched", lease.taken_at(found))
        self._whole, self._found = lease.whole(found, self._undo), found
        return True

    def is_ours(self) -> bool:
        """Call before the inject: a claim that was released meanwhile stays released."""
        try:
            return self.stands()
        except (Held, OSError, *API_ERRORS):
            return False

    def displaced(self, undo: Undo) -> str | None:
        """Which run has taken the target in place of our deleted record `undo`, in words; None: none is known."""
        try:
            self.stands()
        except Held as e:
            return str(e) if e.displaces(undo) else None
        except (OSError, *API_ERRORS):
            return None
        return None

    def closed(self) -> bool:
        """For a claim that does not stand: whether a process of ours closed it, which also deletes the journal's record. A person
        who deletes a Lease leaves that record. Without a journal the two cases cannot be distinguished."""
        return self._journal is not None and not self._recorded()

    def take_again(self, now: float) -> None:
        """Call where its record was deleted and the fault is still active. Raises Held where another run was faster."""
        if not self._recorded():
            self._journal_again()
        if self._cluster is None or lease.take(self._cluster, self._undo, now) is not None:
            return
        if not self.stands():
            raise OSError(f"the Lease of {self._undo.handle} was created and deleted meanwhile; try again")

    def keep(self, now: float) -> bool:
        """Call while the fault lasts: writes the record again where it was deleted or damaged, in the journal or on the cluster;
        whether it was. Does nothing past the deadline: another process may have restored, and the restore checks that.
        Raises Held."""
        with self._lock:
            if self._released or now > self._undo.deadline:
                return False
            stands, recorded = self.stands(), self._recorded()
            if not stands:
                self.take_again(now)
                return True
            if not recorded:
                self._journal_again()
            if self._cluster is not None and self._found is not None:
                self._whole = self._whole and lease.is_signed(self._cluster, self._found, now)
            if not self._whole:
                assert self._cluster is not None, "only a Lease can be incomplete"
                lease.rewrite(self._cluster, self._undo)
            return not (recorded and self._whole)

    def rewrite(self, fresh: Undo) -> None:
        """Replace the record, on disk and in the Lease, with another deadline or the result of a write of ours. Raises API_ERRORS,
        OSError and ValueError."""
        assert fresh.same_fault(self._undo)
        with self._lock:
            if self._cluster is not None:
                lease.rewrite(self._cluster, fresh)
            if self._journal is not None:
                self._journal.rewrite(fresh)
            self._undo = fresh

    def release(self) -> None:
        """Call after the verified restore, or when nothing was injected. Safe to call twice, and after a failed `take`: a Lease
        may exist although its creation was not answered."""
        with self._lock:
            self._released = True
            if self._cluster is not None:
                found = lease.read(self._cluster, self._undo)
                if found is not None and lease.carries(found, self._undo):
                    lease.release(self._cluster, self._undo, found["metadata"]["uid"])
            if self._journal is not None:
                self._journal.close(self._undo)

    def _recorded(self) -> bool:
        """Whether the journal has the record; true where that is unknown."""
        try:
            return self._journal is None or self._journal.holds(self._undo)
        except (OSError, ValueError):
            return True

    def _journal_again(self) -> None:
        assert self._journal is not None, "a claim without a journal is never missing from it"
        try:
            self._journal.open(self._undo)
        except Taken as e:
            raise Held(f"{held_by(e.undo)}; not touched") from None

    def _take_over(self, held: Undo, now: float, restore_first: RestoreFirst) -> None:
        if now <= held.deadline:
            raise CannotInject(held_by(held))
        if not restore_first(held):
            raise CannotInject(f"{held_by(held)}; it is past its deadline and could not be restored")


def held_by(undo: Undo) -> str:
    return clean(
        f"{undo.handle} is held by {undo.holder} ({undo.run}, step {undo.step}); "
        "if that run is dead, run make restore"
    )
