"""Helpers to set faults on a running engine, to send a request, and to inspect the result."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from contract.framing import End, Exchange, Framing
from contract.outcome import judge
from contract.proper_end import AT_CAP
from contract.stream import read_answer
from embedded.engine import faults
from embedded.engine.ledger import Entry
from tests.embedded.engine import DEADLINE_S, Running, chat, until

PATH = "/v1/chat/completions"
CATALOGUE = faults.load()
REQUEST_NUMBERS = count(1)
LONG_S = 60.0  # longer than any test: the fault cannot end by its deadline
SHORT_S = 2.0  # for faults that end by their deadline, with time for requests before it


def control(engine: Running, method: str, given: Any = None, query: str = "") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=DEADLINE_S)
    body = given if given is None or isinstance(given, bytes) else json.dumps(given)
    connection.request(method, "/faults" + query, body)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def put(engine: Running, name: str, for_s: float = LONG_S, owner: str = "run/step", **more: Any) -> Any:
    status, answer = control(engine, "PUT", {"fault": name, "for_s": for_s, "id": owner} | more)
    assert status == 200, answer
    return answer["fault"]


@contextmanager
def fault(engine: Running, name: str, for_s: float = LONG_S, **more: Any) -> Iterator[Any]:
    """Sets the fault for the duration of the block."""
    try:
        yield put(engine, name, for_s, **more)
    finally:
        assert control(engine, "DELETE") == (200, {"fault": None})


@dataclass
class Received:
    """The result of a request: the bytes received, and how the connection ended."""

    raw: bytes
    end: str  # eof, rst
    nonce: str

    @property
    def status(self) -> int | None:
        return int(self.raw.split()[1]) if self.raw else None

    def outcome(self, max_tokens: int = 5) -> str:
        """The outcome that the harness assigns."""
        exchange = Exchange(sent_at=0.0)
        framing = Framing(exchange)
        if self.raw:
            framing.feed(self.raw, 0.0)
        framing.closed(0.0, "ConnectionResetError" if self.end == "rst" else None)
        assert exchange.end is not End.UNPARSABLE
        answer = read_answer(exchange) if exchange.status == 200 else None
        return str(judge(exchange, answer, max_tokens, AT_CAP)[0])


def open_request(engine: Running, path: str, body: dict[str, Any]) -> socket.socket:
    raw = json.dumps(body).encode()
    line = socket.create_connection(("127.0.0.1", engine.port), timeout=DEADLINE_S)
    head = (
        f"POST {path} HTTP/1.1\r\nauthorization: Bearer k\r\nconnection: close\r\ncontent-length: {len(raw)}"
    )
    line.sendall(head.encode() + b"\r\n\r\n" + raw)
    return line


def send_request(engine: Running, stream: bool = True, path: str = PATH, tokens: int = 5) -> Received:
    nonce = f"req-f-{next(REQUEST_NUMBERS):05d}"
    if path.startswith("/api/"):
        prompt = {"prompt": nonce} if path == "/api/generate" else chat(nonce)
        body = {"model": "m", "stream": stream, "options": {"num_predict": tokens}} | prompt
    else:
        body = chat(nonce, stream=stream, max_tokens=tokens)
        if stream:
            body["stream_options"] = {"include_usage": True}
    with open_request(engine, path, body) as line:
        raw, end = b"", "eof"
        try:
            while more := line.recv(65536):
                raw += more
        except ConnectionResetError:
            end = "rst"
    return Received(raw, end, nonce)


def entry_of(engine: Running, nonce: str) -> Entry:
    def found() -> Entry | None:
        return next((one for one in engine.entries() if one.nonce == nonce and one.how), None)

    entry = until(found)
    assert entry is not None
    return entry


S, P = True, False  # streamed, plain
