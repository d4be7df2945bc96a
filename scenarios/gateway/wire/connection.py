"""One connected socket: sends a request, and reads the response on the hub itself. A chunk wakes no greenlet; only the end
of the response wakes the sender.
"""

import sys
import time
from collections.abc import Callable

import gevent
import gevent.socket
import gevent.ssl
from gevent.hub import Waiter

from contract.framing import Exchange, Framing
from contract.keepalive import closing
from contract.stream import HAS_CONTENT, SEAM_BYTES
from scenarios.gateway.wire.receive_time import (
    ANCILLARY_BYTES,
    Ancillary,
    enable_stamps,
    received_at,
    wall_ahead_s,
)
from scenarios.gateway.wire.watchdog import SocketWatch

_READ_BYTES = 65536  # one read per turn of the hub, so that a fast stream does not starve the others
_EVENT_END = b"\n\n"
_CHUNK_END_BYTES = 64  # bytes that may follow an event without being an event
_READABLE = 1


class Line:
    """One request at a time. `close` also closes the socket."""

    def __init__(self, sock: gevent.socket.socket) -> None:
        self.socket = sock
        self._loop = gevent.get_hub().loop
        self._io = self._loop.io(sock.fileno(), _READABLE)
        self._tls = isinstance(sock, gevent.ssl.SSLSocket)
        if not self._tls:
            enable_stamps(sock)
        self.got_bytes = False  # whether the latest response had a byte
        # Whether the other side had ended the connection before the latest request reached it.
        self.peer_had_closed = False

    def converse(self, request: bytes, exchange: Exchange, framing: Framing, watch: SocketWatch) -> None:
        """Send, and feed the framing until it is done. Raises OSError, and GreenletExit if the greenlet is killed."""
        assert exchange.sent_at is not None
        self._exchange, self._framing, self._watch = exchange, framing, watch
        self._seen, self._seam, self._token_seen = 0, b"", False
        self._at, self._ahead_s = exchange.sent_at, wall_ahead_s()
        self.got_bytes = False
        self.socket.sendall(request)
        self.peer_had_closed = closing(self.socket)
        self._waiter = Waiter()
        self.socket.settimeout(0.0)  # nothing on the hub may block
        self._io.start(self._readable)
        try:
            self._waiter.get()
        finally:
            self._io.stop()
            self.socket.settimeout(None)

    def close(self) -> None:
        self._io.close()
        self.socket.close()

    def _readable(self) -> None:
        try:
            self._take()
        except (BlockingIOError, gevent.ssl.SSLWantReadError, gevent.ssl.SSLWantWriteError):
            return  # an incomplete TLS record
        except BaseException:
            self._over(self._waiter.throw, *sys.exc_info())
        else:
            if self._framing.done:
                self._over(self._waiter.switch, None)

    def _over(self, wake: Callable[..., object], *what: object) -> None:
        """Wake the sender after all readable data of this turn has its timestamps."""
        self._io.stop()
        self._loop.run_callback(wake, *what)

    def _take(self) -> None:
        if self._tls:
            self._feed(self.socket.recv(_READ_BYTES), [])
            return
        first = 0 if self._token_seen else self._first_token_bytes()
        if first:
            self._feed(*self.socket.recvmsg(first, ANCILLARY_BYTES)[:2])
        if not self._framing.done:
            self._feed(*self.socket.recvmsg(_READ_BYTES, ANCILLARY_BYTES)[:2])

    def _first_token_bytes(self) -> int:
        """Number of waiting bytes up to the end of the first token if more data follows, else 0. A separate read gives the token its
        own timestamp. If no token is found, or a wrong one, only that timestamp is lost."""
        waiting = self.socket.recv(_READ_BYTES, gevent.socket.MSG_PEEK)
        token = HAS_CONTENT.search(waiting)
        end = waiting.find(_EVENT_END, token.end()) if token else -1
        return end + len(_EVENT_END) if 0 <= end < len(waiting) - _CHUNK_END_BYTES else 0

    def _feed(self, data: bytes, ancillary: Ancillary) -> None:
        wall_s, now = time.time(), time.monotonic()
        watch, framing = self._watch, self._framing
        if watch.overdue is not None:
            framing.given_up(watch.overdue.end, now, watch.overdue.why)
            return
        if not data:
            framing.closed(now)
            return
        self.got_bytes = True
        self._at = at = received_at(ancillary, wall_s, now, self._ahead_s, self._at)
        framing.feed(data, at)
        if not self._token_seen and self._token_in_new_pieces():
            self._token_seen = True
            watch.last_at = at

    def _token_in_new_pieces(self) -> bool:
        """Whether the pieces since the last call contain a token, including one that began in an earlier piece."""
        pieces, since = self._exchange.pieces, self._seen
        self._seen = len(pieces)
        new = self._seam + b"".join([piece for _, piece in pieces[since:]])
        self._seam = new[-SEAM_BYTES:]
        return HAS_CONTENT.search(new) is not None
