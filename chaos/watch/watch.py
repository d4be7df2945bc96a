"""The watch: sends requests on schedule, independent of earlier requests, and shows their results.

A request that hangs does not stop it: the next one is sent on its own thread. While IN_FLIGHT requests wait, no further one is
sent, since it would be load: the slot is covered by the waiting requests, and shown as covered.
"""

import queue
import threading
from typing import Protocol

from chaos.stop import Stop
from chaos.watch.changes import Change, Changes
from chaos.watch.lineup import Lineup
from chaos.watch.sender import Sender
from chaos.watch.summary import Summary, Tally
from contract.clock import Clock
from contract.records import RequestRecord

IN_FLIGHT = 4
_TICK_S = 0.1


class View(Protocol):
    """The output. Each method may raise OSError where the reader has gone."""

    def ended(
        self, n: int, record: RequestRecord, name: str | None, place: int | None, text: str
    ) -> None: ...

    def changed(self, change: Change, changes: Changes) -> None: ...

    def covered(self, now: float, waiting: dict[int, float]) -> None:
        """No request was sent in a slot."""

    def waiting(self, now: float, waiting: dict[int, float]) -> None:
        """Called regularly. `waiting`: the requests in flight, by number, and when each was sent."""

    def closed(self, summary: Summary, changes: Changes) -> None: ...


class Watch:
    """`count`: number of requests; None: until `stop`."""

    def __init__(
        self, sender: Sender, lineup: Lineup, every_s: float, count: int | None, clock: Clock, stop: Stop, view: View
    ) -> None:  # fmt: skip
        self._sender, self._every_s, self._count = sender, every_s, count
        self._clock, self._stop, self._view = clock, stop, view
        self._n = 0
        self._waiting: dict[int, float] = {}
        self._found: queue.Queue[tuple[int, RequestRecord | None, str]] = (
            queue.Queue()
        )  # None: its answer has begun
        self._lineup = lineup
        self._changes = Changes(lineup)
        self._tally = Tally(lineup, every_s, clock.now())

    def run(self) -> Summary:
        due = self._clock.now()
        while not self._stop.is_set() and not self._over():
            now = self._clock.now()
            if now >= due and not self._sent_all():
                self._slot(due, now)
                # This process stalled (a suspended machine, a stopped terminal): missed slots are dropped, not
                # sent in a burst.
                due = due + self._every_s if now - due < self._every_s else now + self._every_s
            self._take(_TICK_S if self._sent_all() else min(_TICK_S, due - self._clock.now()))
            now = self._clock.now()
            self._changed(self._changes.looked(now))
            self._view.waiting(now, self._waiting)
        summary = self._tally.summary(self._clock.now(), len(self._waiting))
        self._view.closed(summary, self._changes)
        return summary

    def _sent_all(self) -> bool:
        return self._count is not None and self._n >= self._count

    def _over(self) -> bool:
        return self._sent_all() and not self._waiting

    def _slot(self, due: float, now: float) -> None:
        if len(self._waiting) >= IN_FLIGHT:
            self._tally.covered += 1
            self._view.covered(now, self._waiting)
            return
        self._n += 1
        self._waiting[self._n] = now
        self._changes.sent(self._n, now)
        threading.Thread(
            target=self._send, args=(self._n, due), name=f"request {self._n}", daemon=True
        ).start()

    def _send(self, n: int, due: float) -> None:
        self._found.put((n, *self._sender.once(n, due, lambda: self._found.put((n, None, "")))))

    def _take(self, within_s: float) -> None:
        try:
            n, record, text = self._found.get(timeout=max(0.0, within_s))
        except queue.Empty:
            return
        if record is None:
            self._changes.begun(n)
            return
        del self._waiting[n]
        self._tally.ended(record)
        change = self._changes.ended(n, record)
        self._changed(change)  # first: the change comes before the request that shows it
        name = self._lineup.name(record)
        self._view.ended(n, record, name, self._lineup.place(name), text)

    def _changed(self, change: Change | None) -> None:
        if change is not None:
            self._view.changed(change, self._changes)
