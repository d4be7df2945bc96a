"""The claim on a target: its record in the journal and, on a cluster, its Lease. Taken before the inject, given back
after the verified restore.

A claim that is still open past its deadline belongs to somebody who did not come back: it is taken over, and only by
restoring first. A claim whose record was deleted by someone, on the cluster or on the disk, is taken again.
"""

import threading
from collections.abc import Callable

from chaos.errors import CannotInject
from chaos.kube.cluster import API_ERRORS, Cluster
from chaos.undo import lease
from chaos.undo.journal import Journal, Taken, Undo

RestoreFirst = Callable[[Undo], bool]
"""Restores what a dead holder left open; whether it is closed."""


class Held(Exception):
    """Another holds the target: nothing of it is ours to write. `since`: when the claim was taken, in unix seconds; None: it is
    not known."""

    def __init__(self, words: str, since: float | None = None) -> None:
        super().__init__(words)
        self.since = since

    def displaces(self, undo: Undo) -> bool:
        """Whether that claim was taken while ours was in force. Before our deadline nobody takes over, so our record had been
        deleted, and what was found and will be restored is the target as our fault had left it. A claim that was taken later
        was taken by restoring ours first."""
        return self.since is not None and self.since <= undo.deadline


class Claim:
    """One claim, as its controller holds it, or whoever restores in the controller's place.

    `journal`: None where the record came from a Lease: this machine's journal has nothing to do with it.
    """

    def __init__(self, journal: Journal | None, cluster: Cluster | None, undo: Undo) -> None:
        self._journal, self._undo = journal, undo
        self._cluster = cluster if undo.target_handle.on_cluster else None
        self._lock = threading.Lock()  # `keep` must not take again what is being given back
        self._released = False
        self._whole = True  # the Lease, when it was last looked at

    def must_be_free(self, now: float, restore_first: RestoreFirst) -> None:
        """Raises CannotInject, naming the holder. Called before the target is looked at: one that another run has
        taken away must not be mistaken for an empty one."""
        assert self._journal is not None, "who injects has a journal"
        held = self._journal.held(self._undo)
        if held is not None:
            self._take_over(held, now, restore_first)
            self._journal.close(held)
        if self._cluster is not None and (found := lease.read(self._cluster, self._undo)) is not None:
            self._take_over(lease.undo_in(found), now, restore_first)

    def take(self, now: float) -> None:
        """On disk and, on a cluster, in the Lease when it returns. Raises CannotInject, OSError and API_ERRORS."""
        undo = self._undo
        assert self._journal is not None, "who injects has a journal"
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
                held_by(lease.undo_in(found)) if found else f"another run is claiming {undo.handle}"
            )

    def stands(self) -> bool:
        """False: there is no claim on the target, ours or another's. Raises Held where another's stands."""
        if self._cluster is None:
            if self._journal is None:
                return True
            try:
                held = self._journal.held(self._undo)
            except (OSError, ValueError):
                return True  # what cannot be read must keep nobody from restoring
            if held is not None and not held.same_fault(self._undo):
                raise Held(f"{held_by(held)}; not touched")
            return held is not None
        found = lease.read(self._cluster, self._undo)
        if found is None:
            return False
        if not lease.carries(found, self._undo):
            holder = (found.get("spec") or {}).get("holderIdentity")
            raise Held(f"{self._undo.handle} is held by {holder} now; not touched", lease.taken_at(found))
        self._whole = lease.whole(found, self._undo)
        return True

    def is_ours(self) -> bool:
        """Before anything was injected: whoever has given the claim back meanwhile has done so for good."""
        try:
            return self.stands()
        except (Held, OSError, *API_ERRORS):
            return False

    def displaced(self, undo: Undo) -> str | None:
        """Who has taken the target in the place of our deleted record `undo`, in words; None: nobody, as far as can be known."""
        try:
            self.stands()
        except Held as e:
            return str(e) if e.displaces(undo) else None
        except (OSError, *API_ERRORS):
            return None
        return None

    def closed(self) -> bool:
        """Where it does not stand: whether it was closed by one of ours, who deletes the journal's record too. Who deletes a
        Lease leaves that one; without a journal the two cannot be told apart."""
        return self._journal is not None and not self._recorded()

    def take_again(self, now: float) -> None:
        """Its record was deleted, and the fault is still there. Raises Held where another was quicker."""
        if not self._recorded():
            self._journal_again()
        if self._cluster is None or lease.take(self._cluster, self._undo, now) is not None:
            return
        if not self.stands():
            raise OSError(f"the Lease of {self._undo.handle} was created and deleted meanwhile; try again")

    def keep(self, now: float) -> bool:
        """While the fault lasts: whether its record had been deleted or spoiled, in the journal or on the cluster, and was made
        again. Past the deadline it is not: another may have restored, which is for the restore to find out. Raises Held."""
        with self._lock:
            if self._released or now > self._undo.deadline:
                return False
            stands, recorded = self.stands(), self._recorded()
            if not stands:
                self.take_again(now)
                return True
            if not recorded:
                self._journal_again()
            if not self._whole:
                assert self._cluster is not None, "it is a Lease that is not whole"
                lease.rewrite(self._cluster, self._undo)
            return not (recorded and self._whole)

    def rewrite(self, fresh: Undo) -> None:
        """The record with another deadline, or with what came of a write of ours, on disk and in the Lease. Raises API_ERRORS, OSError
        and ValueError."""
        assert fresh.same_fault(self._undo)
        with self._lock:
            if self._cluster is not None:
                lease.rewrite(self._cluster, fresh)
            if self._journal is not None:
                self._journal.rewrite(fresh)
            self._undo = fresh

    def release(self) -> None:
        """After the verified restore, or when nothing was injected. Safe to call twice, and after a `take` that failed:
        a Lease whose creation was not answered may be there all the same."""
        with self._lock:
            self._released = True
            if self._cluster is not None:
                found = lease.read(self._cluster, self._undo)
                if found is not None and lease.carries(found, self._undo):
                    lease.release(self._cluster, self._undo, found["metadata"]["uid"])
            if self._journal is not None:
                self._journal.close(self._undo)

    def _recorded(self) -> bool:
        """Whether the journal has the record, as far as can be known."""
        try:
            return self._journal is None or self._journal.holds(self._undo)
        except (OSError, ValueError):
            return True

    def _journal_again(self) -> None:
        assert self._journal is not None, "what has no journal is never missing from it"
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
    return (
        f"{undo.handle} is held by {undo.holder} ({undo.run}, step {undo.step}); "
        "if that run is dead, run make restore"
    )
