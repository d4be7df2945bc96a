"""An engine for tests: a real process on a real port, with a client for it."""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from embedded.engine import ledger
from tests.forked import Forked
from tests.ports import held_port

HOUSE = Path(__file__).parents[2]
DEADLINE_S = 30.0
QUICK = ("--time-to-first-token=1ms", "--inter-token-latency=1ms", "--inter-token-latency-std-dev=0ms")
# So slow that an answer of many tokens is still running when the test gets to it.
SLOW = ("--time-to-first-token=1ms", "--inter-token-latency=20ms", "--inter-token-latency-std-dev=0ms")
T = TypeVar("T")


def until(question: Callable[[], T]) -> T:
    """Polls until `question` returns a true value, and returns it; fails after DEADLINE_S."""
    give_up_at = time.monotonic() + DEADLINE_S
    while not (answer := question()):
        assert time.monotonic() < give_up_at, f"no answer within {DEADLINE_S} s"
        time.sleep(0.01)
    return answer


@dataclass
class Running:
    process: "subprocess.Popen[bytes] | Forked"
    port: int
    ledger_path: Path

    def listens(self) -> bool:
        assert self.process.poll() is None, f"the engine ended with {self.process.returncode}"
        return self.accepts()

    def accepts(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def send(
        self, path: str, body: Mapping[str, Any] | bytes | None = None, **headers: str
    ) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("GET" if raw is None else "POST", path, raw, headers)
        return connection

    def request(
        self, path: str, body: Mapping[str, Any] | bytes | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        return self.send(path, body, **headers).getresponse()

    def request_json(
        self, path: str, body: Mapping[str, Any] | bytes | None = None, **headers: str
    ) -> tuple[int, Any]:
        response = self.request(path, body, **headers)
        return response.status, json.loads(response.read())

    def entries(self) -> list[ledger.Entry]:
        return ledger.read(self.ledger_path)

    def ended(self, count: int) -> list[ledger.Entry]:
        """All entries, once `count` of them have ended."""
        until(lambda: sum(entry.how is not None for entry in self.entries()) >= count)
        return self.entries()


@contextmanager
def running(
    personality: str,
    folder: Path,
    *parameters: str,
    port: int = 0,
    env: Mapping[str, str] | None = None,
    listening: bool = True,
) -> Iterator[Running]:
    port = port or held_port()
    path = folder / "ledger.jsonl"
    given = ["--personality", personality, "--port", str(port), "--model", "m", "--ledger", str(path)]
    process = Forked("embedded.engine", *given, *parameters, env={**os.environ, **(env or {})})
    engine = Running(process, port, path)
    try:
        if listening:
            until(engine.listens)
        yield engine
    finally:
        process.kill()
        process.wait()


def chat(text: str = "req-1-1 go on", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]} | more


def next_event(response: http.client.HTTPResponse) -> Any:
    """The next server-sent event: its JSON, or its text if it is not JSON; None at the end."""
    while line := response.readline():
        if line.startswith(b"data: "):
            text = line[6:].decode().strip()
            return json.loads(text) if text.startswith("{") else text
    return None


def events(response: http.client.HTTPResponse) -> list[Any]:
    return list(iter(lambda: next_event(response), None))


def next_token(response: http.client.HTTPResponse) -> str:
    """The next content; skips empty deltas."""
    while True:
        event = next_event(response)
        text = event["choices"][0]["delta"].get("content")
        if text:
            return str(text)
