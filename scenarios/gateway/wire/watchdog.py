"""Shuts the sockets of overdue exchanges. One greenlet watches all of them, because a timeout object per read costs as much
as the read itself. It runs only while a socket is watched.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent
import gevent.socket

from contract.deadlines import Deadlines, Due, due

_TICK_S = 0.05


@dataclass(slots=True, eq=False)
class SocketWatch:
    """One exchange under way. Its owner sets `last_at` when the first token has arrived; from then on the watchdog
    calls `new_content_at`, but only if the exchange would be overdue, so that an active stream costs nothing. The watchdog sets
    `overdue` before it shuts the socket.
    """

    socket: gevent.socket.socket
    deadlines: Deadlines
    sent_at: float
    # Time of the latest content since the last call; None: no content.
    new_content_at: Callable[[], float | None]
    # Time of the latest known content; None: no token yet.
    last_at: float | None = None
    suspect: Due | None = None
    overdue: Due | None = None


class Watchdog:
    """Create one per process, after any fork."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._watches: set[SocketWatch] = set()
        self._greenlet: gevent.Greenlet | None = None

    def watch(
        self,
        socket: gevent.socket.socket,
        deadlines: Deadlines,
        sent_at: float,
        new_content_at: Callable[[], float | None],
    ) -> SocketWatch:
        """Watch until `forget`."""
        watch = SocketWatch(socket, deadlines, sent_at, new_content_at)
        self._watches.add(watch)
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        return watch

    def forget(self, watch: SocketWatch) -> None:
        self._watches.discard(watch)

    def look(self, now: float) -> None:
        """Shut sockets that are overdue in two calls in a row.

        One call is not enough: if this process was stalled, the bytes may have arrived unread.
        """
        for watch in list(self._watches):
            if watch.overdue is not None:
                continue
            held_to = due(watch.deadlines, watch.sent_at, watch.last_at)
            if now < held_to.at:
                continue
            if watch.last_at is not None and (new_content_at := watch.new_content_at()) is not None:
                watch.last_at = max(watch.last_at, new_content_at)
                held_to = due(watch.deadlines, watch.sent_at, watch.last_at)
                if now < held_to.at:
                    continue
            if watch.suspect != held_to:
                watch.suspect = held_to
                continue
            watch.overdue = held_to
            shut(watch.socket)

    def _run(self) -> None:
        try:
            while self._watches:
                gevent.sleep(_TICK_S)
                self.look(self._monotonic())
        finally:
            self._greenlet = None


def shut(socket: gevent.socket.socket) -> None:
    """End the transport under a socket, so that a greenlet that waits for it wakes up."""
    try:
        # Not socket.shutdown: on a TLS socket that removes the session while a reader uses it.
        gevent.socket.socket.shutdown(socket, gevent.socket.SHUT_RDWR)
    except OSError:
        pass  # the other side has closed it already
