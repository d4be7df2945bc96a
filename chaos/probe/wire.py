"""One HTTP/1.1 exchange on one blocking socket, for the threads of the probe and the verification of restores.

Every wait has an end (`contract/deadlines.py`).
"""

import socket
import time
from collections.abc import Callable

from contract.deadlines import Deadlines, due
from contract.endpoint import Endpoint
from contract.framing import End, Exchange, Framing
from contract.keepalive import closing, lost_unread, was_read
from contract.stream import LastOutput
from contract.trust import client_context


class Connection:
    """A connection that stays open while both sides keep it."""

    def __init__(
        self, endpoint: Endpoint, deadlines: Deadlines, on_data: Callable[[Exchange], None] | None = None
    ) -> None:
        """`on_data`: called with the incomplete exchange each time that bytes arrive."""
        self._endpoint, self._deadlines, self._on_data = endpoint, deadlines, on_data
        self._socket: socket.socket | None = None
        self._received = False  # whether the latest exchange received a byte
        self._read = False  # whether it ended after the server had read it

    def exchange(self, request: bytes) -> Exchange:
        """Send and receive; the result, also an error, is in the exchange."""
        kept = self._socket is not None
        found = self._once(request)
        if kept and lost_unread(found, self._received, self._read):
            found = self._once(request)
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _once(self, request: bytes) -> Exchange:
        exchange = Exchange()
        framing = Framing(exchange)
        self._received = self._read = False
        exchange.sent_at = time.monotonic()  # for a refused connection: when connecting began
        try:
            sock = self._socket or self._connect()
        except (OSError, ValueError) as e:  # ValueError: a name that cannot be looked up
            framing.given_up(End.REFUSED, time.monotonic(), f"{type(e).__name__}: {e}")
            return exchange
        self._socket = sock
        sent_at = exchange.sent_at = time.monotonic()
        last_said_at, looked = LastOutput(exchange.pieces), False
        last_at: float | None = None
        try:
            sock.settimeout(self._deadlines.first_token)
            sock.sendall(request)
            let_go = closing(sock)
            while not framing.done:
                left = due(self._deadlines, sent_at, last_at).at - time.monotonic()
                if left <= 0 and looked:
                    raise TimeoutError
                looked = left <= 0  # one more read: this process may have stalled while the bytes arrived
                sock.settimeout(max(0.001, left))
                data = sock.recv(65536)
                at = time.monotonic()
                if data:
                    self._received = True
                    framing.feed(data, at)
                    last_at = last_said_at() or last_at
                    if self._on_data is not None:
                        self._on_data(exchange)
                else:
                    framing.closed(at)
                    self._read = (
                        not self._received
                        and not let_go
                        and was_read(sock, at - exchange.sent_at, time.sleep)
                    )
        except TimeoutError:
            overdue = due(self._deadlines, sent_at, last_at)
            framing.given_up(overdue.end, time.monotonic(), overdue.why)
        except OSError as e:
            framing.closed(time.monotonic(), f"{type(e).__name__}: {e}")
        if not framing.reusable:
            self.close()
        return exchange

    def _connect(self) -> socket.socket:
        e = self._endpoint
        sock = socket.create_connection((e.host, e.port), timeout=self._deadlines.connect)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not e.tls:
            return sock
        try:
            return client_context(e.ca_file).wrap_socket(sock, server_hostname=e.host)
        except BaseException:
            sock.close()
            raise
