"""A kept connection after an answer: a real llama.cpp, and the simulated engine that behaves like it."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.engine import DEADLINE_S, QUICK, Running, chat, running
from tests.embedded.faults import fault
from tests.embedded.llamacpp import llama

PROMISE = "timeout=5, max=100"


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    def folder() -> Path:
        return tmp_path_factory.mktemp("engine")

    with (
        llama("--slots", "1", "--context", "512") as real,
        running("vllm", folder(), *QUICK, "--after-stream", "close") as closing,
        running("vllm", folder(), *QUICK) as keeping,
    ):
        yield {"llama.cpp": real, "simulated, close": closing, "simulated, keep": keeping}


class Client:
    """One connection, and the answers read from it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self._file = self._socket.makefile("rb")

    def answer(self, stream: bool, connection: str | None) -> dict[str, str] | None:
        """The headers of a complete answer; None: the connection is closed."""
        body = json.dumps(chat(stream=stream, max_tokens=2)).encode()
        lines = ["POST /v1/chat/completions HTTP/1.1", "host: e", f"content-length: {len(body)}"]
        lines += [f"connection: {connection}"] if connection else []
        try:
            self._socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            if not self._file.readline().startswith(b"HTTP/1.1 200"):
                return None
        except ConnectionError:
            return None
        pairs = (line.decode().lower().partition(":") for line in self._lines())
        headers = {name: value.strip() for name, _, value in pairs}
        if stream:
            while size := int(self._file.readline(), 16):
                self._file.read(size + 2)
            self._file.readline()
        else:
            self._file.read(int(headers["content-length"]))
        return headers

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _lines(self) -> Iterator[bytes]:
        return iter(self._file.readline, b"\r\n")


AFTER = [
    # engine, streamed, the client's connection header; the engine's keep-alive and connection headers, whether it answers again
    ("llama.cpp", True, None, PROMISE, None, False),
    ("simulated, close", True, None, PROMISE, None, False),
    ("simulated, keep", True, None, None, None, True),
    ("llama.cpp", True, "close", None, "close", False),
    ("simulated, close", True, "close", None, "close", False),
    ("simulated, keep", True, "close", None, "close", False),
    ("llama.cpp", False, None, PROMISE, None, True),
    ("simulated, close", False, None, PROMISE, None, True),
    ("simulated, keep", False, None, None, None, True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "stream", "wish", "promise", "word", "again"), AFTER)
def test_the_connection_headers_of_an_engine_and_whether_it_keeps_the_connection(
    engines: dict[str, Running], name: str, stream: bool, wish: str | None, promise: str | None, word: str | None, again: bool
) -> None:  # fmt: skip
    client = Client(engines[name].port)
    headers = client.answer(stream, wish)
    assert headers is not None
    assert (headers.get("keep-alive"), headers.get("connection")) == (promise, word)
    assert (client.answer(stream, wish) is not None) is again
    client.close()


@pytest.mark.parametrize(("stream", "again"), [(True, False), (False, True)])
def test_as_a_fault_the_close_lasts_as_long_as_the_fault(
    engines: dict[str, Running], stream: bool, again: bool
) -> None:
    engine = engines["simulated, keep"]
    client = Client(engine.port)
    assert client.answer(stream, None) is not None
    with fault(engine, "closed_after_stream"):
        headers = client.answer(stream, None)
        assert headers is not None
        assert headers.get("keep-alive") == (PROMISE if stream else None)
        assert (client.answer(stream, None) is not None) is again
    client.close()
    client = Client(engine.port)
    assert client.answer(stream, None) is not None
    assert client.answer(stream, None) is not None
    client.close()
