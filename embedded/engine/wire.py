"""HTTP/1.1 on asyncio, as far as an engine needs it: whole requests in, replies out, one write per token.

Not aiohttp, because its import alone takes 0.5 s of CPU, and because faults need the raw connection: to withhold
headers, to omit an answer's end, to reset. Data for a slow reader is buffered without limit.
"""

import asyncio
import socket
import struct
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import httptools

from contract.clock import Clock
from embedded.engine.spelling import Spelling


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    arrived_at: float


KEEP_ALIVE_HEADER = b"keep-alive: timeout=5, max=100"  # as llama.cpp sends it


class Reply:
    """The answer to one request. Faults act here, between engine and client."""

    def __init__(
        self,
        transport: asyncio.Transport,
        clock: Clock,
        keep_alive: bool,
        head_only: bool = False,
        closes_after_stream: bool = False,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._head_only = head_only
        self.keep_alive = keep_alive
        self.closes_after_stream = closes_after_stream
        self.opened = False
        self.ended = False
        self.spelling: Spelling | None = None  # set by a fault

    def open(self, content_type: str) -> None:
        """Sends the headers of a streamed 200."""
        self.opened = True
        headers = None
        if self.spelling is not None:
            content_type, headers = self.spelling.content_type(content_type), self.spelling.headers()
        self._transport.write(self._head(200, content_type, b"transfer-encoding: chunked", headers))
        if self.closes_after_stream:
            self.keep_alive = False  # after its headers, which promise otherwise

    def send(self, data: bytes) -> float:
        """Sends one chunk; returns the time just before the write."""
        if self.spelling is not None:
            data = self.spelling.chunk(data)
        frame = b"%x\r\n%b\r\n" % (len(data), data)
        at = self._clock.now()
        self._transport.write(frame)
        return at

    def end(self, data: bytes) -> None:
        """Sends the last chunk and the stream's proper end."""
        if self.spelling is not None:
            data = self.spelling.chunk(data, last=True)
        # An empty chunk would itself be the end.
        last = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._transport.write(last + b"0\r\n\r\n")
        self.ended = True

    def whole(
        self, status: int, content_type: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> float:
        """Sends an answer in one piece; returns the time just before the write."""
        self.opened = self.ended = True
        if self.spelling is not None:
            content_type, body = self.spelling.content_type(content_type), self.spelling.whole(body)
            headers = {**(headers or {}), **self.spelling.headers()}
        message = self._head(status, content_type, b"content-length: %d" % len(body), headers)
        if not self._head_only:
            message += body
        at = self._clock.now()
        self._transport.write(message)
        return at

    def truncated(self, content_type: str, body: bytes) -> float:
        """Sends a 200 in one piece without its last byte; returns the time just before the write."""
        self.opened = True
        message = self._head(200, content_type, b"content-length: %d" % len(body)) + body[:-1]
        at = self._clock.now()
        self._transport.write(message)
        return at

    def reset(self) -> None:
        """Resets the connection: the client's next read fails with ECONNRESET."""
        reset(self._transport)

    def _head(
        self, status: int, content_type: str, framing: bytes, headers: Mapping[str, str] | None = None
    ) -> bytes:
        lines = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()), framing]
        lines += [f"{name}: {value}".encode("latin-1") for name, value in (headers or {}).items()]
        if content_type:
            lines.append(b"content-type: " + content_type.encode())
        if not self.keep_alive:
            lines.append(b"connection: close")
        elif self.closes_after_stream:
            lines.append(KEEP_ALIVE_HEADER)
        return b"\r\n".join(lines) + b"\r\n\r\n"


def reset(transport: asyncio.Transport) -> None:
    no_lingering = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)
    transport.abort()


Handler = Callable[[Request, Reply], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client connection: reads requests, answers them in order, cancels the answer if the client disconnects."""

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        others: set["Connection"],
        keep_alive_s: float | None = None,
        closes_after_stream: bool = False,
    ) -> None:
        self._handler = handler
        self._clock = clock
        self._keep_alive_s = keep_alive_s
        self._expiry: asyncio.TimerHandle | None = None
        self._others = others
        self._closes_after_stream = closes_after_stream
        self._pending: deque[tuple[Request, bool]] = deque()
        self.answering: asyncio.Task[None] | None = None
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._others.discard(self)
        if self._expiry is not None:
            self._expiry.cancel()
        if self.answering is not None:
            self.answering.cancel()

    def data_received(self, data: bytes) -> None:
        self._read_at = self._clock.now()
        if self._expiry is not None:
            # After a freeze, the loop handles bytes before timers. A server whose timers run first closes with them unread.
            if self._expiry.when() < asyncio.get_running_loop().time():
                reset(self.transport)
                return
            self._expiry.cancel()
            self._expiry = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request is complete and gets an answer; the protocol upgrade was optional.
            pass
        except httptools.HttpParserError:
            if self.answering is None:
                Reply(self.transport, self._clock, keep_alive=False).whole(400, "text/plain", b"Bad Request")
            self.transport.close()

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        request = Request(
            method=self._parser.get_method().decode(),
            path=path,
            query=query,
            headers=self._headers,
            body=b"".join(self._body),
            arrived_at=self._read_at,
        )
        self._pending.append((request, self._parser.should_keep_alive()))
        if self.answering is None:
            self.answering = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        while self._pending:
            request, keep_alive = self._pending.popleft()
            head_only, closes = request.method == "HEAD", self._closes_after_stream
            reply = Reply(self.transport, self._clock, keep_alive, head_only, closes)
            try:
                await self._handler(request, reply)
            except Exception:
                traceback.print_exc(file=sys.stderr)
                if not reply.opened:
                    reply.whole(500, "text/plain", b"Internal Server Error")
            # The client sees a missing end only when the connection closes.
            if not (reply.ended and reply.keep_alive):
                self.transport.close()
                break
        self.answering = None
        if self._keep_alive_s is not None and not self.transport.is_closing():
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(self._keep_alive_s, self.transport.close)


class Listener:
    """A port on 127.0.0.1 that replicas may share, and its connections."""

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        keep_alive_s: float | None = None,
        closes_after_stream: bool = False,
    ) -> None:
        """`keep_alive_s`: idle seconds after which a kept connection is closed; None: never."""
        self._handler = handler
        self._clock = clock
        self._keep_alive_s = keep_alive_s
        self._closes_after_stream = closes_after_stream
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def open(self, port: int) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(
                self._handler, self._clock, self._connections, self._keep_alive_s, self._closes_after_stream
            ),
            "127.0.0.1",
            port,
            reuse_port=True,
            backlog=1024,
        )

    def refuse(self) -> None:
        """Stops accepting connections."""
        if self._server is not None:
            self._server.close()

    def close_idle(self) -> None:
        """Closes the connections without a running answer."""
        for one in list(self._connections):
            if one.answering is None:
                one.transport.close()

    async def all_closed(self) -> None:
        """Waits until every connection is closed."""
        while self._connections:
            await asyncio.sleep(0.02)

    async def close(self, within_s: float) -> None:
        """Waits for running answers, at most `within_s`, then closes every connection."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + within_s
        # In a loop: while one answer ends, the next request may be read from a kept connection.
        while answers := [one.answering for one in self._connections if one.answering is not None]:
            if loop.time() > deadline_s:
                break
            await asyncio.wait(answers, timeout=within_s)
        for one in list(self._connections):
            one.transport.close()
        # Data still in a transport's buffer is sent in the loop's next iterations.
        deadline_s = loop.time() + within_s
        while self._connections and loop.time() < deadline_s:
            await asyncio.sleep(0.005)
