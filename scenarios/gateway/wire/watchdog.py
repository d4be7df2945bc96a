"""Shuts the sockets of overdue exchanges: one greenlet for all of them, because a timeout object per reception costs
as much as the reception itself. It runs only while something is watched.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent
import gevent.socket

from contract.deadlines import Deadlines, Due, due

_TICK_S = 0.05


@dataclass(slots=True, eq=False)
class Watch:
    """One exchange under way. Its owner sets `last_at` when the first token is there; from then on the watchdog requests `said_at`
    when something was last said, and only where the exchange would be overdue: a stream under way costs it nothing. The
    watchdog sets `overdue` before it shuts the socket.
    """

    socket: gevent.socket.socket
    deadlines: Deadlines
    sent_at: float
    said_at: Callable[[], float | None]  # since it was asked last; None: nothing was
    # When something was last said, as far as is known; None as long as there is no token.
    last_at: float | None = None
    suspect: Due | None = None
    overdue: Due | None = None


class Watchdog:
    """Make one per process, after any fork."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._watches: set[Watch] = set()
        self._greenlet: gevent.Greenlet | None = None

    def watch(
        self,
        socket: gevent.socket.socket,
        deadlines: Deadlines,
        sent_at: float,
        said_at: Callable[[], float | None],
    ) -> Watch:
        """Watch until `forget`."""
        watch = Watch(socket, deadlines, sent_at, said_at)
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
            if watch.overdue is not None:
                continue
            held_to = due(watch.deadlines, watch.sent_at, watch.last_at)
            if now < held_to.at:
                continue
            if watch.last_at is not None and (said_at := watch.said_at()) is not None:
                watch.last_at = max(watch.last_at, said_at)
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
    """End the transport under a socket, so that whoever waits for it wakes up."""
    try:
        # Not socket.shutdown: on a TLS socket that takes the session away from under its reader.
        gevent.socket.socket.shutdown(socket, gevent.socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster
