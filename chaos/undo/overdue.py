"""Restores of Leases past their deadline: a bounded number at once, whatever is found.

A record that waits is not lost: it keeps its place until it is restored, or no longer found. A first try comes before any second
one, and of those the most overdue first. So records that cannot be restored delay the others once, and not again.
"""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Due:
    """A Lease past its deadline, without its record: many may wait. `uid`: of the Lease."""

    namespace: str
    name: str
    uid: str
    deadline: float


class Overdue:
    """`restore` is called in a thread of a pool of `most`. It must not raise."""

    def __init__(self, restore: Callable[[Due], None], most: int) -> None:
        self._restore, self._most = restore, most
        self._lock = threading.Lock()
        self._waiting: dict[str, Due] = {}
        self._tried: dict[str, tuple[str, int]] = {}  # uid → namespace, how often
        self._busy: set[str] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def add(self, due: Due) -> None:
        """Does nothing where it waits already, or is being restored."""
        with self._lock:
            if due.uid not in self._busy:
                self._waiting[due.uid] = due

    def start(self) -> None:
        """Start as many as may run at once."""
        with self._lock:
            for _ in range(min(self._most - len(self._threads), len(self._waiting))):
                thread = threading.Thread(target=self._work, name="restore")
                thread.start()  # raises where the machine has no thread left; then no place of the pool is taken
                self._threads.add(thread)

    def keep(self, namespace: str, uids: Collection[str]) -> None:
        """Forget all others of the namespace: their Leases are gone."""
        with self._lock:
            self._waiting = {
                uid: due for uid, due in self._waiting.items() if due.namespace != namespace or uid in uids
            }
            self._tried = {
                uid: tried for uid, tried in self._tried.items() if tried[0] != namespace or uid in uids
            }

    def close(self) -> None:
        """Begin no further restore, and wait for those that have begun."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        try:
            while (due := self._next()) is not None:
                try:
                    self._restore(due)
                finally:
                    with self._lock:
                        self._busy.discard(due.uid)
        finally:  # a bug in a restore ends its thread, and must not cost the pool a place
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next(self) -> Due | None:
        with self._lock:
            if self._closed or not self._waiting:
                self._threads.discard(threading.current_thread())
                return None
            uid = min(self._waiting, key=self._order)
            due = self._waiting.pop(uid)
            self._busy.add(uid)
            self._tried[uid] = due.namespace, self._tries(uid) + 1
            return due

    def _order(self, uid: str) -> tuple[int, float]:
        return self._tries(uid), self._waiting[uid].deadline

    def _tries(self, uid: str) -> int:
        return self._tried.get(uid, ("", 0))[1]
