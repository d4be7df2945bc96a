"""HTTP/1.1 exchanges on one kept gevent socket: bytes, and the times at which they came.

Every exchange ends with an `End`. While bytes come in (`connection.py`) only the framing is parsed; `contract.stream` reads
their content afterwards.
"""

import select
import time
from collections.abc import Callable

import gevent
import gevent.socket
import gevent.ssl
from gevent import GreenletExit, monkey

from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End, Exchange, Framing
from contract.keepalive import lost_unread, was_read
from contract.stream import LastOutput
from contract.trust import client_context
from scenarios.gateway.wire.connection import Line
from scenarios.gateway.wire.watchdog import Watchdog

_poll = monkey.get_original("select", "poll")  # polls without yielding to the hub


class Connection:
    """A connection to one endpoint. Opened with the first exchange, kept while both sides keep it open."""

    def __init__(self, endpoint: Endpoint, watchdog: Watchdog) -> None:
        self._endpoint, self._watchdog = endpoint, watchdog
        self._line: Line | None = None
        # On GreenletExit `exchange` cannot return its result, so the result is here.
        self.latest: Exchange | None = None
        self._read = False  # whether the latest exchange ended without a byte of response, after the server had read the request

    def exchange(
        self, request: bytes, deadlines: Deadlines, on_sent: Callable[[float], object] = lambda at: None
    ) -> Exchange:
        """Send and receive. Raises nothing but GreenletExit, after it has ended `latest` as STOPPED.

        `on_sent` gets the monotonic time at which the request is sent.
        """
        kept = self._still_open()
        found = self._once(request, deadlines, on_sent)
        if kept is not None and lost_unread(found, kept.got_bytes, self._read):
            # Once only: a new connection has no such race.
            found = self._once(request, deadlines, on_sent)
        return found

    def close(self) -> None:
        """Safe to call twice."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _still_open(self) -> Line | None:
        """The kept connection, if it is usable. Data between two exchanges is the end of the connection, or not an answer."""
        if self._line is None:
            return None
        poll = _poll()
        poll.register(self._line.socket.fileno(), select.POLLIN)
        if poll.poll(0):
            self.close()
        return self._line

    def _once(self, request: bytes, deadlines: Deadlines, on_sent: Callable[[float], object]) -> Exchange:
        exchange = self.latest = Exchange()
        framing = Framing(exchange)
        self._read = False
        began_at = time.monotonic()
        try:
            if self._line is None:
                self._line = Line(self._connect(deadlines.connect))
        except GreenletExit:
            framing.given_up(End.STOPPED, time.monotonic(), "stopped while connecting")
            raise
        except (OSError, ValueError) as e:  # ValueError: an invalid host name
            exchange.sent_at = began_at  # so that sent + latency is the time of the refusal
            framing.given_up(End.REFUSED, time.monotonic(), _words(e))
            return exchange
        try:
            on_sent(time.monotonic())
            self._converse(self._line, request, deadlines, exchange, framing)
        except GreenletExit:
            framing.given_up(End.STOPPED, time.monotonic(), "stopped")
            raise
        finally:
            if not (framing.done and framing.reusable):
                self.close()
        return exchange

    def _converse(
        self, line: Line, request: bytes, deadlines: Deadlines, exchange: Exchange, framing: Framing
    ) -> None:
        sent_at = exchange.sent_at = time.monotonic()
        watch = self._watchdog.watch(line.socket, deadlines, sent_at, LastOutput(exchange.pieces))
        try:
            line.converse(request, exchange, framing, watch)
            self._read = self._was_read(line, exchange)
        except OSError as e:
            at = time.monotonic()
            if watch.overdue is not None:
                framing.given_up(watch.overdue.end, at, watch.overdue.why)
            else:
                framing.closed(at, _words(e))
        finally:
            self._watchdog.forget(watch)

    @staticmethod
    def _was_read(line: Line, exchange: Exchange) -> bool:
        if exchange.end is not End.CLOSED or line.got_bytes or line.peer_had_closed:
            return False
        assert exchange.sent_at is not None
        assert exchange.ended_at is not None
        return was_read(line.socket, exchange.ended_at - exchange.sent_at, gevent.sleep)

    def _connect(self, limit_s: float) -> gevent.socket.socket:
        """Uses its own timeout, not the watchdog: a name lookup has no socket to shut. One per connection."""
        endpoint = self._endpoint
        with gevent.Timeout(limit_s, TimeoutError(f"no connection in {limit_s:g} s")):
            sock = gevent.socket.create_connection((endpoint.host, endpoint.port))
            try:
                sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
                if not endpoint.tls:
                    return sock
                context = client_context(endpoint.ca_file, gevent.ssl.SSLContext)
                return context.wrap_socket(sock, server_hostname=endpoint.host)
            except BaseException:  # GreenletExit too: do not leave an open socket to the garbage collector
                sock.close()
                raise


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
