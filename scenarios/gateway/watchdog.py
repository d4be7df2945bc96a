"""Shuts the sockets of overdue exchanges: one greenlet for all of them, because a timeout object per reception costs
as much as the reception itself. It runs only while something is watched.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent
import gevent.socket

from scenarios.gateway.deadlines import Due

_TICK_S = 0.05


@dataclass(slots=True, eq=False)
class Watch:
    """One exchange under way. Its owner moves `due` on; the watchdog sets `overdue` before it shuts the socket."""

    socket: gevent.socket.socket
    due: Due
    suspect: Due | None = None
    overdue: Due | None = None


class Watchdog:
    """Make one per process, after any fork."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._watches: set[Watch] = set()
        self._greenlet: gevent.Greenlet | None = None

    def watch(self, socket: gevent.socket.socket, due: Due) -> Watch:
        """Watch until `forget`."""
        watch = Watch(socket, due)
        self._watches.add(watch)
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        return watch

    def forget(self, watch: Watch) -> None:
        self._watches.discard(watch)

    def look(self, now: float) -> None:
        """Shut what is overdue for the second look in a row.

        One look is not enough: when this process itself was held up, the bytes may be there and merely unread.
        """
        for watch in list(self._watches):
            if watch.overdue is not None or now < watch.due.at:
                continue
            if watch.suspect is not watch.due:
                watch.suspect = watch.due
                continue
            watch.overdue = watch.due
            shut(watch.socket)

    def _run(self) -> None:
        try:
            while self._watches:
                gevent.sleep(_TICK_S)
                self.look(self._monotonic())
        finally:
            self._greenlet = None


def shut(socket: gevent.socket.socket) -> None:
    """End the transport under a socket, so that whoever waits for it wakes up."""
    try:
        # Not socket.shutdown: on a TLS socket that takes the session away from under its reader.
        gevent.socket.socket.shutdown(socket, gevent.socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster
