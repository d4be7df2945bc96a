"""The claim on a target: its record in the journal and, on a cluster, its Lease. Taken before the inject, given back
after the verified mend.

A claim that is still open past its deadline belongs to somebody who did not come back: it is taken over, and only by
mending first.
"""

from collections.abc import Callable

from chaos import lease
from chaos.cluster import Cluster
from chaos.fault import CannotInject
from chaos.journal import Journal, Taken, Undo

MendFirst = Callable[[Undo], bool]
"""Mends what a dead holder left open; whether it is closed."""


class Claim:
    """`ours` tells a controller that was held up whether somebody has mended in its place meanwhile."""

    def __init__(self, journal: Journal, cluster: Cluster | None, undo: Undo) -> None:
        self._journal, self._undo = journal, undo
        self._cluster = cluster if undo.target_handle.on_cluster else None
        self._lease_uid: str | None = None

    def must_be_free(self, now: float, mend_first: MendFirst) -> None:
        """Raises CannotInject, naming the holder. Asked before the target is looked at: one that another run has
        taken away must not be mistaken for an empty one."""
        held = self._journal.held(self._undo)
        if held is not None:
            self._take_over(held, now, mend_first)
            self._journal.close(held)
        if self._cluster is not None and (found := lease.read(self._cluster, self._undo)) is not None:
            self._take_over(lease.undo_in(found), now, mend_first)

    def take(self, now: float) -> None:
        """On disk and, on a cluster, in the Lease when it returns. Raises CannotInject, OSError and TROUBLE."""
        undo = self._undo
        try:
            self._journal.open(undo)
        except Taken as e:
            raise CannotInject(held_by(e.undo)) from None
        if self._cluster is None:
            return
        self._lease_uid = lease.take(self._cluster, undo, now)
        if self._lease_uid is None:
            self._journal.close(undo)
            found = lease.read(self._cluster, undo)
            raise CannotInject(
                held_by(lease.undo_in(found)) if found else f"{undo.handle} is being taken by another"
            )

    def ours(self) -> bool:
        """Whether it still stands: whoever mended in our place has given it back."""
        if self._cluster is None:
            return self._journal.holds(self._undo)
        found = lease.read(self._cluster, self._undo)
        return found is not None and found["metadata"]["uid"] == self._lease_uid

    def give_back(self) -> None:
        """After the verified mend, or when nothing was injected. Safe to call twice, and after a `take` that failed:
        a Lease whose creation was not answered may be there all the same."""
        if self._cluster is not None and self._lease_uid is None:
            found = lease.read(self._cluster, self._undo)
            if found is not None and lease.undo_in(found) == self._undo:
                self._lease_uid = found["metadata"]["uid"]
        if self._cluster is not None and self._lease_uid is not None:
            lease.release(self._cluster, self._undo, self._lease_uid)
        self._journal.close(self._undo)

    def _take_over(self, held: Undo, now: float, mend_first: MendFirst) -> None:
        if now <= held.deadline:
            raise CannotInject(held_by(held))
        if not mend_first(held):
            raise CannotInject(f"{held_by(held)}; it is past its deadline, and could not be mended")


def held_by(undo: Undo) -> str:
    return (
        f"{undo.handle} is held by {undo.holder} ({undo.run}, step {undo.step}); "
        "if that run is dead, run make restore"
    )
