"""Parses one HTTP/1.1 response: raw bytes and their arrival instants in; status, headers and body pieces out.

Does no I/O and reads no clock. Bodies are kept, not read: see `stream`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import httptools

from contract.foreign import without

LARGEST = 16 * 2**20
"""Bytes of one response in total: 32,000 tokens in events of 500 bytes."""
MOST_PIECES = 250_000
"""Reads that brought a part of the body: more than a stream of 100,000 tokens takes."""
LARGEST_HEAD = 64 * 2**10
"""Bytes of all headers, interim responses and trailers together, and of any part that brings neither header nor body."""
MOST_HEADERS = 200  # trailers included
MOST_INTERIM = 20  # responses of a status 1xx before the one that counts


class End(StrEnum):
    """How an exchange ended, as observed on the wire."""

    COMPLETE = "complete"  # the response is whole by its framing
    CLOSED = "closed"  # the connection ended before the response was whole
    UNPARSABLE = "unparsable"  # not HTTP
    REFUSED = "refused"  # no connection
    LATE = "late"  # nothing came before the deadline
    SILENT = "silent"  # something came, then nothing until the deadline
    STOPPED = "stopped"  # we stopped waiting


def encoded(headers: Mapping[str, str]) -> str | None:
    """The encoding of the body, in words; None: it has none. `identity` is requested, and nothing else is read."""
    for name, plain in (("content-encoding", ("identity",)), ("transfer-encoding", ("identity", "chunked"))):
        codings = [coding.strip().lower() for coding in headers.get(name, "").split(",")]
        found = [coding for coding in codings if coding and coding not in plain]
        if found:
            return f"{name} {', '.join(found)}"
    return None


@dataclass(slots=True)
class Exchange:
    """One request on the wire. Instants are readings of the wire's monotonic clock, in seconds."""

    sent_at: float | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    headers_at: float | None = None
    pieces: list[tuple[float, bytes]] = field(default_factory=list)  # of the body, without framing
    ended_at: float | None = None
    end: End | None = None
    error: str | None = None


class Framing:
    """Fills an exchange with what a socket received. Check `done` after each feed."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._parser = httptools.HttpResponseParser(self)
        self._at, self._size = 0.0, 0
        self._head, self._headers, self._interim = 0, 0, 0  # bytes; headers; responses
        self._passed = (
            0  # bytes since the last part that was parsed: a header or a chunk's extension without an end
        )
        self._fresh: list[bytes] = []  # parts of the body in the bytes that are being parsed
        # Whether the response states its length; otherwise the end of the connection ends the body.
        self._bounded = False
        self.done = False
        self.reusable = False

    def feed(self, data: bytes, at: float) -> None:
        """Bytes as they came, and when. Bytes after a whole response are not read."""
        self._at = at
        if self.done:
            self.reusable = False
            return
        self._size += len(data)
        if self._size > LARGEST:
            self._finish(End.UNPARSABLE, at, f"more than {LARGEST // 2**20} MiB")
            return
        self._passed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish(End.UNPARSABLE, at, "the server changed the protocol")
        except httptools.HttpParserError as e:
            self.reusable = False
            self._finish(End.UNPARSABLE, at, f"not HTTP: {e}")
        if self._fresh:  # all of one read came at one instant
            self._exchange.pieces.append((at, b"".join(self._fresh)))
            self._fresh.clear()
        if self._passed > LARGEST_HEAD + len(data):
            self._over(f"more than {LARGEST_HEAD // 2**10} KiB without a header or a part of the body")
        elif len(self._exchange.pieces) > MOST_PIECES:
            self._over(f"a body in more than {MOST_PIECES} pieces")

    def _over(self, error: str) -> None:
        """A limit was passed. The rest of the response is not read, so the connection is not used again."""
        if not self.done:
            self._finish(End.UNPARSABLE, self._at, error)

    def closed(self, at: float, error: str | None = None) -> None:
        """The peer closed, or the connection was lost."""
        headers_came = self._exchange.headers_at is not None
        if headers_came and not self._bounded and error is None:
            self._finish(End.COMPLETE, at, None)
        else:
            self._finish(End.CLOSED, at, error or "connection closed")

    def given_up(self, end: End, at: float, error: str) -> None:
        """We closed: a deadline passed, or the answer is no longer needed."""
        self._finish(end, at, error)

    def _finish(self, end: End, at: float, error: str | None) -> None:
        if not self.done:
            self.done = True
            self._exchange.end, self._exchange.ended_at = end, at
            self._exchange.error = None if error is None else without((), error)

    # Called by httptools, also for a second response in the same bytes.
    def on_message_begin(self) -> None:
        if self.done:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._passed = 0
        self._headers += 1
        self._head += len(name) + len(value) + len(": \r\n")
        if self._head > LARGEST_HEAD:
            self._over(f"headers of more than {LARGEST_HEAD // 2**10} KiB")
        elif self._headers > MOST_HEADERS:
            self._over(f"more than {MOST_HEADERS} headers")
        if not self.done and self._exchange.headers_at is None:  # else it is a trailer
            self._exchange.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.done:
            return
        exchange = self._exchange
        exchange.status = self._parser.get_status_code()
        exchange.headers_at = self._at
        self._bounded = (
            "content-length" in exchange.headers
            or "chunked" in exchange.headers.get("transfer-encoding", "").lower()
            or exchange.status in (204, 304)
        )

    def on_body(self, body: bytes) -> None:
        self._passed = 0
        if not self.done:
            self._fresh.append(body)

    def on_message_complete(self) -> None:
        if self.done:
            return
        if (self._exchange.status or 0) < 200:  # 100 Continue: the response is still to come
            self._passed = 0
            self._exchange.status, self._exchange.headers_at = None, None
            self._exchange.headers.clear()
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self._over(f"more than {MOST_INTERIM} interim responses")
            return
        self.reusable = self._parser.should_keep_alive()
        self._finish(End.COMPLETE, self._at, None)
