"""The catalogue of faults inside an answer: what each does on the wire, what the ledger says of it, what a client of
ours makes of it, and how it ends.
"""

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from chaos.wire import Connection
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End, Exchange, Framing
from contract.outcome import judge
from contract.proper_end import AT_CAP
from contract.request import Request
from contract.stream import read_answer
from embedded.engine import faults
from embedded.engine.faults.flapping import Flapping
from embedded.engine.ledger import Entry
from embedded.engine.parameters import read, shown
from tests.embedded.engine import DEADLINE_S, QUICK, Running, chat, next_token, running, until

PATH = "/v1/chat/completions"
WHOLE = b"\r\n0\r\n\r\n"
CATALOGUE = faults.load()
NUMBERS = count(1)
LONG_S = 60.0  # longer than any test: what ends sooner was ended by something else
SHORT_S = 2.0  # of faults that end by themselves, and within which something else is asked


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("vllm", tmp_path_factory.mktemp("vllm"), *QUICK) as engine:
        yield engine


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("ollama", tmp_path_factory.mktemp("ollama"), *QUICK) as engine:
        yield engine


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("cloud", tmp_path_factory.mktemp("cloud"), *QUICK) as engine:
        yield engine


def control(engine: Running, method: str, told: Any = None, query: str = "") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=DEADLINE_S)
    body = told if told is None or isinstance(told, bytes) else json.dumps(told)
    connection.request(method, "/faults" + query, body)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def put(engine: Running, name: str, for_s: float = LONG_S, who: str = "run/step", **more: Any) -> Any:
    status, said = control(engine, "PUT", {"fault": name, "for_s": for_s, "id": who} | more)
    assert status == 200, said
    return said["fault"]


@contextmanager
def fault(engine: Running, name: str, for_s: float = LONG_S, **more: Any) -> Iterator[Any]:
    """Set for as long as the block lasts."""
    try:
        yield put(engine, name, for_s, **more)
    finally:
        assert control(engine, "DELETE") == (200, {"fault": None})


@dataclass
class Seen:
    """What came of an ask: bytes, and how the connection ended."""

    raw: bytes
    end: str  # eof, rst
    nonce: str

    @property
    def status(self) -> int | None:
        return int(self.raw.split()[1]) if self.raw else None

    def outcome(self, max_tokens: int = 5) -> str:
        """As the harness judges it."""
        exchange = Exchange(sent_at=0.0)
        framing = Framing(exchange)
        if self.raw:
            framing.feed(self.raw, 0.0)
        framing.closed(0.0, "ConnectionResetError" if self.end == "rst" else None)
        assert exchange.end is not End.UNPARSABLE
        answer = read_answer(exchange) if exchange.status == 200 else None
        return str(judge(exchange, answer, max_tokens, AT_CAP)[0])


def opened(engine: Running, path: str, body: dict[str, Any]) -> socket.socket:
    raw = json.dumps(body).encode()
    line = socket.create_connection(("127.0.0.1", engine.port), timeout=DEADLINE_S)
    head = (
        f"POST {path} HTTP/1.1\r\nauthorization: Bearer k\r\nconnection: close\r\ncontent-length: {len(raw)}"
    )
    line.sendall(head.encode() + b"\r\n\r\n" + raw)
    return line


def see(engine: Running, stream: bool = True, path: str = PATH, tokens: int = 5) -> Seen:
    nonce = f"ask-f-{next(NUMBERS):05d}"
    if path.startswith("/api/"):
        asked = {"prompt": nonce} if path == "/api/generate" else chat(nonce)
        body = {"model": "m", "stream": stream, "options": {"num_predict": tokens}} | asked
    else:
        body = chat(nonce, stream=stream, max_tokens=tokens)
        if stream:
            body["stream_options"] = {"include_usage": True}
    with opened(engine, path, body) as line:
        raw, end = b"", "eof"
        try:
            while more := line.recv(65536):
                raw += more
        except ConnectionResetError:
            end = "rst"
    return Seen(raw, end, nonce)


def entry_of(engine: Running, nonce: str) -> Entry:
    def found() -> Entry | None:
        return next((one for one in engine.entries() if one.nonce == nonce and one.how), None)

    entry = until(found)
    assert entry is not None
    return entry


S, P = True, False  # streamed, plain

# fault, parameters | streamed | status, end, is the framing whole | words in it, words not in it | how, written tokens | outcome
VLLM: list[tuple[Any, ...]] = [
    ("rate_limit", {}, S, 429, "eof", True, b"Too many requests", b"retry-after", "refused", 0, "rejected"),
    ("rate_limit", {"retry_after_s": 7}, P, 429, "eof", True, b"retry-after: 7\r\n", b"200", "refused", 0, "rejected"),
    ("rate_limit", {"retry_after_s": 0.5}, S, 429, "eof", True, b"retry-after: 0.5\r\n", b"200", "refused", 0, "rejected"),
    ("unavailable", {}, P, 503, "eof", True, b"ServiceUnavailableError", b"retry-after", "refused", 0, "rejected"),
    ("unavailable", {"retry_after_s": 3}, S, 503, "eof", True, b"retry-after: 3\r\n", b"data:", "refused", 0, "rejected"),
    ("error_500_once", {}, S, 500, "eof", True, b"EngineCore encountered", b"data:", "refused", 0, "rejected"),
    ("error_500_once", {}, P, 500, "eof", True, b"InternalServerError", b"choices", "refused", 0, "rejected"),
    ("context_length", {}, S, 400, "eof", True, b"maximum context length is", b"data:", "refused", 0, "rejected"),
    ("context_length", {}, P, 400, "eof", True, b"maximum context length is", b"choices", "refused", 0, "rejected"),
    # Nothing at all comes.
    ("reset_before_headers", {}, S, None, "rst", False, b"", b"HTTP", "reset", 0, "broken"),
    ("reset_before_headers", {}, P, None, "rst", False, b"", b"HTTP", "reset", 0, "broken"),
    # Streams that are cut, each in its way.
    ("cut", {"after_tokens": 2}, S, 200, "eof", False, b"data:", b'finish_reason":"', "cut", 2, "cut"),
    ("cut", {"after_tokens": 0}, S, 200, "eof", False, b"event-stream", b"data:", "cut", 0, "broken"),
    ("cut", {"after_tokens": 5}, S, 200, "eof", False, b"data:", b"[DONE]", "cut", 5, "cut"),
    ("cut", {"after_tokens": 2, "how": "rst"}, S, 200, "rst", False, b"data:", b"[DONE]", "cut", 2, "cut"),
    ("cut", {"after_tokens": 0, "how": "rst"}, S, 200, "rst", False, b"event-stream", b"data:", "cut", 0, "broken"),
    ("cut", {"after_tokens": 2, "how": "clean_end"}, S, 200, "eof", True, b"data:", b"[DONE]", "cut", 2, "cut"),
    ("cut", {"after_tokens": 0, "how": "clean_end"}, S, 200, "eof", True, b"", b"data:", "cut", 0, "broken"),
    ("cut", {"after_tokens": 2, "how": "error"}, S, 200, "eof", True, b"[DONE]", b'finish_reason":"', "cut", 2, "cut"),
    ("cut", {"after_tokens": 0, "how": "error"}, S, 200, "eof", True, b'"code":500', b"choices", "cut", 0, "broken"),
    ("cut", {"how": "error_without_done"}, S, 200, "eof", True, b'data: {"error":', b"[DONE]", "cut", 1, "cut"),
    ("cut", {"how": "abort"}, S, 200, "eof", True, b'"finish_reason":"abort"', b"error", "abort", 1, "cut"),
    # What comes nearest in one piece.
    ("cut", {"after_tokens": 2}, P, 200, "eof", False, b'"completion_tokens":2', b"}}", "cut", 2, "broken"),
    ("cut", {"after_tokens": 2, "how": "rst"}, P, 200, "rst", False, b'"content":"', b"}}", "cut", 2, "broken"),
    ("cut", {"after_tokens": 2, "how": "clean_end"}, P, 200, "eof", True, b'"finish_reason":"stop"', b"error", "cut", 2, "cut"),
    ("cut", {"after_tokens": 2, "how": "error"}, P, 500, "eof", True, b"EngineCore", b"choices", "refused", 0, "rejected"),
    ("cut", {"how": "error_without_done"}, P, 500, "eof", True, b"EngineCore", b"choices", "refused", 0, "rejected"),
    ("cut", {"after_tokens": 2, "how": "abort"}, P, 200, "eof", True, b'"finish_reason":"abort"', b"error", "abort", 2, "cut"),
    ("malformed_chunk", {"after_tokens": 2}, S, 200, "eof", True, b"[DONE]", b"error", "garbled", 5, "cut"),
    ("malformed_chunk", {"after_tokens": 5}, S, 200, "eof", True, b"[DONE]", b"error", "garbled", 5, "cut"),
    ("malformed_chunk", {"after_tokens": 0}, P, 200, "eof", True, b'"completion_tokens":5', b"}}", "garbled", 5, "broken"),
    ("no_done", {}, S, 200, "eof", True, b'"completion_tokens":5', b"[DONE]", "length", 5, "ok"),
    ("content_filter", {}, S, 200, "eof", True, b'"finish_reason":"content_filter"', b'content":" ', "content_filter", 0, "filtered"),
    ("content_filter", {"after_tokens": 3}, S, 200, "eof", True, b"[DONE]", b"error", "content_filter", 3, "filtered"),
    ("content_filter", {"after_tokens": 3}, P, 200, "eof", True, b'"completion_tokens":3', b"error", "content_filter", 3, "filtered"),
    # As under --max-num-queued-reqs: before any header.
    ("prefill_refused", {}, S, 503, "eof", True, b"currently busy", b"data:", "refused", 0, "rejected"),
    ("prefill_refused", {}, P, 503, "eof", True, b"currently busy", b"retry-after", "refused", 0, "rejected"),
    # Whole, in other bytes.
    ("closed_after_stream", {}, S, 200, "eof", True, b"[DONE]", b"keep-alive", "length", 5, "ok"),  # by a client that closes
    *[("spelling", {"how": how}, S, 200, "eof", True, has, lacks, "length", 5, outcome) for how, has, lacks, outcome in (
        ("single_newline", b"}\ndata: [DONE]\n\r\n", b"\n\n", "ok"),
        ("bare_cr", b"}\r\rdata: [DONE]\r\r", b"\n\n", "ok"),
        ("crlf", b"}\r\n\r\ndata: [DONE]\r\n\r\n", b"\n\n", "ok"),
        ("no_space", b"\n\ndata:[DONE]", b"data: ", "ok"),
        ("comments", b"\n: PROCESSING\n\ndata: {", b"error", "ok"),
        ("nothings", b"\ndata: ping\n\ndata: null\n\n", b"error", "ok"),
        ("byte_order_mark", b"\r\n\xef\xbb\xbfdata: {", b"error", "ok"),
        ("unended", b"data: [DONE]\r\n0\r\n", b"[DONE]\n", "ok"),
        ("no_content_type", b"[DONE]\n\n", b"content-type", "ok"),
        ("white_space", b"\r\n\n \r\n\ndata: {", b"error", "ok"),
        ("gzip", b"content-encoding: gzip\r\n", b"data:", "broken"),
    )],
    ("spelling", {"how": "gzip"}, P, 200, "eof", True, b"content-encoding: gzip\r\n", b"choices", "length", 5, "broken"),
    ("spelling", {"how": "white_space"}, P, 200, "eof", True, b'\n \r\n\n{"', b"error", "length", 5, "ok"),
    ("spelling", {"how": "byte_order_mark"}, P, 200, "eof", True, b'\xef\xbb\xbf{"', b"error", "length", 5, "ok"),
    ("spelling", {"how": "no_content_type"}, P, 200, "eof", True, b'"choices"', b"content-type", "length", 5, "ok"),
    ("thoughts_in_content", {}, S, 200, "eof", True, b'"content":"<think>"', b"error", "length", 5, "ok"),
    ("thoughts_in_content", {"how": "unopened"}, S, 200, "eof", True, b'"content":"</think>"', b"<think>", "length", 5, "ok"),
    ("thoughts_in_content", {"how": "unclosed"}, S, 200, "eof", True, b'"content":"<think>"', b"</think>", "length", 5, "ok"),
    ("thoughts_in_content", {}, P, 200, "eof", True, b'"content":"<think> So it', b"error", "length", 5, "ok"),
    ("flapping", {}, S, 503, "eof", True, b"ServiceUnavailableError", b"data:", "refused", 0, "rejected"),
]  # fmt: skip


def check(engine: Running, path: str, row: tuple[Any, ...]) -> None:
    name, parameters, stream, status, end, whole, has, lacks, how, written, outcome = row
    with fault(engine, name, **parameters):
        seen = see(engine, stream, path)
    assert (seen.status, seen.end) == (status, end), seen.raw
    assert has in seen.raw
    assert lacks not in seen.raw
    if stream and status == 200:
        assert seen.raw.endswith(WHOLE) == whole, seen.raw[-80:]
    elif seen.raw:
        head, _, body = seen.raw.partition(b"\r\n\r\n")
        missing = int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
        assert missing == (0 if whole else 1)
    entry = entry_of(engine, seen.nonce)
    assert (entry.how, entry.fault, entry.written_tokens) == (how, name, written)
    if outcome is not None:
        assert seen.outcome() == outcome
    if status is not None and how != "refused":
        assert entry.status == status
    # The next ask is a healthy one.
    after = see(engine, stream, path)
    assert (entry_of(engine, after.nonce).how, entry_of(engine, after.nonce).fault) == ("length", None)


def named(row: tuple[Any, ...]) -> str:
    values = "-".join(str(value) for value in row[1].values())
    return f"{row[0]}-{values}-{'streamed' if row[2] else 'plain'}"


@pytest.mark.parametrize("row", VLLM, ids=named)
def test_a_fault_on_vllm_is_on_the_wire_what_the_ledger_says(vllm: Running, row: tuple[Any, ...]) -> None:
    check(vllm, PATH, row)


def test_every_fault_of_the_catalogue_is_seen_in_these_tests() -> None:
    own = {"no_response", "slow_first_token", "stall", "unhealthy"}  # further down: they take time
    assert {row[0] for row in VLLM} | own == set(CATALOGUE)


# Lines of JSON: no [DONE]; an error is a line of its own.
LINES: list[tuple[Any, ...]] = [
    ("rate_limit", {}, S, 429, "eof", True, b'{"error":"too many requests"}', b"done", "refused", 0, "rejected"),
    ("unavailable", {}, P, 503, "eof", True, b'{"error":"server busy', b"done", "refused", 0, "rejected"),
    ("error_500_once", {}, S, 500, "eof", True, b'{"error":"llama runner', b"done", "refused", 0, "rejected"),
    ("context_length", {}, P, 400, "eof", True, b"the input length exceeds", b"done", "refused", 0, "rejected"),
    ("prefill_refused", {}, S, 503, "eof", True, b"maximum pending", b"done", "refused", 0, "rejected"),
    ("reset_before_headers", {}, S, None, "rst", False, b"", b"HTTP", "reset", 0, "broken"),
    ("cut", {"after_tokens": 2}, S, 200, "eof", False, b'"done":false', b'"done":true', "cut", 2, "cut"),
    ("cut", {"after_tokens": 2, "how": "rst"}, S, 200, "rst", False, b'"done":false', b'"done":true', "cut", 2, "cut"),
    ("cut", {"after_tokens": 2, "how": "clean_end"}, S, 200, "eof", True, b'"done":false', b'"done":true', "cut", 2, "cut"),
    ("cut", {"how": "error"}, S, 200, "eof", True, b'\r\n{"error":"llama runner', b'"done":true', "cut", 1, "cut"),
    ("cut", {"how": "error_without_done"}, S, 200, "eof", True, b'\r\n{"error":"llama', b'"done":true', "cut", 1, "cut"),
    ("cut", {"how": "abort"}, S, 200, "eof", True, b'"done_reason":"abort"', b"error", "abort", 1, "cut"),
    ("cut", {"after_tokens": 2}, P, 200, "eof", False, b'"eval_count":2', b"}", "cut", 2, "broken"),
    ("cut", {"after_tokens": 2, "how": "rst"}, P, 200, "rst", False, b'"eval_count":2', b"error", "cut", 2, "broken"),
    ("cut", {"after_tokens": 2, "how": "clean_end"}, P, 200, "eof", True, b'"done_reason":"stop"', b"error", "cut", 2, "cut"),
    ("cut", {"how": "error"}, P, 500, "eof", True, b"llama runner", b'"done"', "refused", 0, "rejected"),
    ("malformed_chunk", {}, S, 200, "eof", True, b'"done_reason":"length"', b"error", "garbled", 5, "cut"),
    ("malformed_chunk", {}, P, 200, "eof", True, b'"eval_count":5', b"}", "garbled", 5, "broken"),
    ("no_done", {}, S, 200, "eof", True, b'"done":false', b'"done":true', "length", 5, "cut"),
    ("content_filter", {"after_tokens": 2}, S, 200, "eof", True, b'"done_reason":"content_filter"', b"error", "content_filter", 2, "filtered"),
]  # fmt: skip


@pytest.mark.parametrize("row", LINES, ids=named)
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_a_fault_in_ollamas_lines_is_what_comes_nearest(
    ollama: Running, path: str, row: tuple[Any, ...]
) -> None:
    if path == "/api/chat" and row[3:7] == (200, "eof", False, b'"eval_count":2'):
        row = (*row[:7], b"\x00", *row[8:])  # its message is an object, with a bracket of its own
    elif path == "/api/chat" and row[6] == b'"eval_count":5':
        row = (*row[:7], b"\x00", *row[8:])
    check(ollama, path, row)


OPENAI_OF_OLLAMA: list[tuple[Any, ...]] = [
    ("rate_limit", {}, S, 429, "eof", True, b'"message":"too many requests"', b"data:", "refused", 0, "rejected"),
    ("cut", {"how": "error"}, S, 200, "eof", True, b'data: {"error":{"message":"llama', b"abort", "cut", 1, "cut"),
    ("cut", {"how": "abort"}, S, 200, "eof", True, b'"finish_reason":"abort"', b"error", "abort", 1, "cut"),
    ("cut", {"after_tokens": 3}, P, 200, "eof", False, b'"completion_tokens":3', b"[DONE]", "cut", 3, "broken"),
    ("no_done", {}, S, 200, "eof", True, b'"finish_reason":"length"', b"[DONE]", "length", 5, "ok"),
    ("malformed_chunk", {}, S, 200, "eof", True, b"[DONE]", b"error", "garbled", 5, "cut"),
]  # fmt: skip


@pytest.mark.parametrize("row", OPENAI_OF_OLLAMA, ids=named)
def test_a_fault_in_ollamas_openai_dialect(ollama: Running, row: tuple[Any, ...]) -> None:
    check(ollama, PATH, row)


CLOUD: list[tuple[Any, ...]] = [
    ("rate_limit", {"retry_after_s": 20}, S, 429, "eof", True, b"rate_limit_exceeded", b"data:", "refused", 0, "rejected"),
    ("error_500_once", {}, P, 500, "eof", True, b"The server had an error", b"choices", "refused", 0, "rejected"),
    ("unavailable", {}, S, 503, "eof", True, b"currently overloaded", b"data:", "refused", 0, "rejected"),
    ("context_length", {}, P, 400, "eof", True, b'"code":"context_length_exceeded"', b"choices", "refused", 0, "rejected"),
    ("content_filter", {}, P, 200, "eof", True, b'"finish_reason":"content_filter"', b"error", "content_filter", 0, "filtered"),
    ("content_filter", {"after_tokens": 2}, S, 200, "eof", True, b'"finish_reason":"content_filter"', b"error", "content_filter", 2, "filtered"),
    ("prefill_refused", {}, S, 429, "eof", True, b"Rate limit reached", b"data:", "refused", 0, "rejected"),
    ("cut", {"after_tokens": 2, "how": "rst"}, S, 200, "rst", False, b"data:", b"[DONE]", "cut", 2, "cut"),
    ("cut", {"how": "error"}, S, 200, "eof", True, b'"type":"server_error"', b"abort", "cut", 1, "cut"),
]  # fmt: skip


@pytest.mark.parametrize("row", CLOUD, ids=named)
def test_a_fault_on_the_cloud(cloud: Running, row: tuple[Any, ...]) -> None:
    check(cloud, PATH, row)


@pytest.mark.parametrize("ping", ["comment", "data", "delta", "newline"])
def test_a_stall_may_ping_and_is_a_stall_to_a_client_all_the_same(vllm: Running, ping: str) -> None:
    endpoint = Endpoint.of(f"http://127.0.0.1:{vllm.port}", "m")
    connection = Connection(endpoint, Deadlines(DEADLINE_S, DEADLINE_S, SHORT_S, DEADLINE_S))
    with fault(vllm, "stall", after_tokens=2, ping_every_s=0.1, ping=ping):
        request = Request(prompt="hi", max_tokens=5, stream=True)
        found = connection.exchange(endpoint.request(f"ask-f-{next(NUMBERS):05d}", request))
    connection.close()
    assert found.end is End.SILENT
    answer = read_answer(found)
    assert len(answer.content_at) == 2
    assert found.pieces[-1][0] > answer.content_at[-1]
    assert judge(found, answer, 5, AT_CAP)[0] == "stalled"


def test_a_garbled_line_costs_no_token_and_is_the_only_one_that_is_no_json(vllm: Running) -> None:
    with fault(vllm, "malformed_chunk", after_tokens=2):
        seen = see(vllm)
    lines = [line[6:] for line in seen.raw.split(b"\n") if line.startswith(b"data: {")]
    broken = [at for at, line in enumerate(lines) if not _is_json(line)]
    assert broken == [3]  # after the role and two tokens
    assert len(lines) == 1 + 5 + 1 + 2  # the role, the tokens, the broken one, the end and the usage


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", ["cut", "stall", "malformed_chunk", "content_filter"])
def test_an_answer_shorter_than_after_tokens_is_left_alone(vllm: Running, name: str) -> None:
    with fault(vllm, name, after_tokens=6):
        entry = entry_of(vllm, see(vllm, tokens=5).nonce)
    assert (entry.how, entry.fault, entry.written_tokens) == ("length", None, 5)


def test_a_plain_answer_has_no_done_to_leave_out(vllm: Running) -> None:
    with fault(vllm, "no_done"):
        entry = entry_of(vllm, see(vllm, P).nonce)
    assert (entry.how, entry.fault, entry.written_tokens) == ("length", None, 5)


def test_the_500_comes_once_and_the_fault_stays_set_as_used_up(vllm: Running) -> None:
    with fault(vllm, "error_500_once") as told:
        assert told["used_up"] is False
        assert [see(vllm).status for _ in range(3)] == [500, 200, 200]
        assert control(vllm, "GET")[1]["fault"] == told | {"used_up": True}
        # Told once more by who did not hear the answer: it is not loaded again.
        assert put(vllm, "error_500_once")["used_up"] is True
        assert see(vllm).status == 200


@pytest.mark.parametrize("stream", [S, P])
def test_no_response_holds_an_ask_until_the_deadline_and_then_hangs_up_without_a_byte(
    vllm: Running, stream: bool
) -> None:
    told = put(vllm, "no_response", for_s=SHORT_S)
    seen = see(vllm, stream)
    assert (seen.raw, seen.end) == (b"", "eof")
    entry = entry_of(vllm, seen.nonce)
    assert (entry.how, entry.fault, entry.status) == ("no_response", "no_response", None)
    assert (entry.started_at, entry.written_tokens) == (None, 0)
    assert entry.ended_at is not None
    assert entry.ended_at >= told["until"]
    # The deadline itself mended it.
    assert see(vllm, stream).status == 200
    assert control(vllm, "GET")[1]["fault"] is None


def test_a_client_that_leaves_an_ask_without_response_is_gone(vllm: Running) -> None:
    with fault(vllm, "no_response"):
        line = opened(vllm, PATH, chat("ask-left-1"))
        until(lambda: any(one.nonce == "ask-left-1" for one in vllm.entries()))
        line.close()
        entry = entry_of(vllm, "ask-left-1")
    assert (entry.how, entry.fault) == ("gone", "no_response")


def test_whoever_is_held_is_let_go_by_a_delete(vllm: Running) -> None:
    with fault(vllm, "no_response"):
        line = opened(vllm, PATH, chat("ask-held-1"))
        until(lambda: any(one.nonce == "ask-held-1" for one in vllm.entries()))
    with line:
        assert line.recv(1) == b""
    assert entry_of(vllm, "ask-held-1").how == "no_response"


@pytest.mark.parametrize("stream", [S, P])
def test_a_stall_is_silence_until_the_deadline_and_then_it_goes_on_at_its_pace(
    vllm: Running, stream: bool
) -> None:
    told = put(vllm, "stall", for_s=SHORT_S, after_tokens=2)
    seen = see(vllm, stream)
    entry = entry_of(vllm, seen.nonce)
    assert (entry.how, entry.fault, entry.written_tokens) == ("length", "stall", 5)
    assert seen.outcome() == "ok"
    before = [at for at in entry.chunks if at < told["until"]]
    assert len(before) == (2 if stream else 0)
    assert entry.started_at is not None
    # The last three were not generated meanwhile.
    if stream:
        assert entry.chunks[-1] - told["until"] > 0.0019
    assert see(vllm, stream).status == 200


def test_a_stalled_stream_whose_client_leaves_is_gone_with_what_was_written(ollama: Running) -> None:
    with fault(ollama, "stall", after_tokens=3):
        with opened(ollama, PATH, chat("ask-left-2", stream=True, max_tokens=50)) as line:
            told = b""
            while told.count(b"data:") < 3:
                told += line.recv(65536)
            line.settimeout(0.3)
            with pytest.raises(TimeoutError):
                line.recv(65536)
        entry = entry_of(ollama, "ask-left-2")
    assert (entry.how, entry.fault, entry.written_tokens) == ("gone", "stall", 3)


@pytest.mark.parametrize("stream", [S, P])
def test_the_first_token_is_slow_by_the_delay(vllm: Running, stream: bool) -> None:
    with fault(vllm, "slow_first_token", delay_s=0.3):
        seen = see(vllm, stream)
    entry = entry_of(vllm, seen.nonce)
    assert (entry.how, entry.fault, entry.written_tokens, seen.outcome()) == (
        "length",
        "slow_first_token",
        5,
        "ok",
    )
    assert entry.started_at is not None
    assert 0.3 <= entry.chunks[0] - entry.started_at < 10.0


@pytest.mark.parametrize("personality", ["vllm", "cloud"])
def test_the_first_token_comes_at_the_latest_when_the_fault_ends_and_headers_when_they_always_do(
    personality: str, request: pytest.FixtureRequest
) -> None:
    engine: Running = request.getfixturevalue(personality)
    told = put(engine, "slow_first_token", for_s=SHORT_S, delay_s=600)
    response = engine.ask(
        PATH, chat("ask-slow-" + personality, stream=True, max_tokens=2), authorization="Bearer k"
    )
    assert response.status == 200
    assert control(engine, "GET")[1]["fault"] is not None  # headers came first
    response.read()
    entry = entry_of(engine, "ask-slow-" + personality)
    assert told["until"] <= entry.chunks[0] < told["until"] + 10.0


@pytest.mark.parametrize(
    ("age_s", "healthy"),
    # down for two seconds, up for three, and again
    [(0.0, False), (1.9, False), (2.0, True), (4.9, True), (5.0, False), (7.1, True), (10.5, False)],
)
def test_flapping_begins_down_and_takes_turns(age_s: float, healthy: bool) -> None:
    assert Flapping(up_s=3.0, down_s=2.0).is_healthy(age_s) == healthy


HEALTH = {
    "vllm": ("/health",),
    "ollama": ("/", "/api/version", "/api/tags"),
    "cloud": ("/v1/models",),
}


def healths(engine: Running, personality: str) -> set[int]:
    return {engine.ask(path).status for path in HEALTH[personality]}


@pytest.mark.parametrize("personality", HEALTH)
def test_flapping_is_seen_on_asks_and_on_the_health_page(
    personality: str, request: pytest.FixtureRequest
) -> None:
    engine: Running = request.getfixturevalue(personality)
    with fault(engine, "flapping", down_s=LONG_S, up_s=LONG_S):
        assert healths(engine, personality) == {503}
        assert see(engine).status == 503
    with fault(engine, "flapping", down_s=0.3, up_s=LONG_S):
        until(lambda: healths(engine, personality) == {200})
        assert see(engine).status == 200


@pytest.mark.parametrize("personality", HEALTH)
def test_unhealthy_is_the_health_page_alone(personality: str, request: pytest.FixtureRequest) -> None:
    engine: Running = request.getfixturevalue(personality)
    with fault(engine, "unhealthy"):
        assert healths(engine, personality) == {503}
        seen = see(engine)
        assert (seen.status, entry_of(engine, seen.nonce).fault) == (200, None)
    assert healths(engine, personality) == {200}


@pytest.mark.parametrize("name", sorted(set(CATALOGUE) - {"flapping", "unhealthy"}))
def test_the_pages_stay_healthy_and_the_control_is_no_ask(vllm: Running, name: str) -> None:
    asks = len(vllm.entries())
    with fault(vllm, name):
        for page in ("/health", "/v1/models", "/metrics", "/ledger"):
            assert vllm.ask(page).status == 200
        status, told = control(vllm, "GET")
        assert (status, told["fault"]["fault"]) == (200, name)
    assert len(vllm.entries()) == asks


def test_the_catalogue_has_a_sentence_for_every_fault(vllm: Running) -> None:
    told = control(vllm, "GET")[1]["catalogue"]
    assert set(told) == set(CATALOGUE)
    for sentence in told.values():
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert 30 < len(sentence) < 400


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_fault_says_all_its_parameters_back_and_the_defaults_are_right(name: str) -> None:
    defaults = shown(CATALOGUE[name]())
    defaults.pop("used_up", None)
    assert read(CATALOGUE[name], defaults) == CATALOGUE[name]()


GOOD = {"fault": "cut", "for_s": 30, "id": "a"}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (b"{", "the body is not JSON"),
        ([1], "the body must be a JSON object"),
        ({"for_s": 1, "id": "a"}, "fault is missing"),
        ({"fault": "cut", "id": "a"}, "for_s is missing"),
        ({"fault": "cut", "for_s": 1}, "id is missing"),
        (GOOD | {"fault": "stal"}, "no fault 'stal'; did you mean 'stall'?"),
        (GOOD | {"fault": "fire"}, "no fault 'fire'; there is closed_after_stream, content_filter"),
        (GOOD | {"fault": None}, "no fault 'None'"),
        (GOOD | {"fault": ["cut"]}, "no fault"),
        (GOOD | {"for_s": 0}, "for_s must be a number of seconds, more than 0"),
        (GOOD | {"for_s": "30s"}, "for_s must be a number of seconds"),
        (GOOD | {"for_s": True}, "for_s must be a number of seconds"),
        (GOOD | {"for_s": 1e9}, "at most 604800; it is 1000000000.0"),
        (b'{"fault": "cut", "id": "a", "for_s": NaN}', "for_s must be a number of seconds"),
        (GOOD | {"id": ""}, "id must be a text of 1 to 200 characters"),
        (GOOD | {"id": 7}, "id must be a text"),
        (GOOD | {"after_token": 3}, "cut: no parameter 'after_token'; did you mean 'after_tokens'?"),
        (GOOD | {"retry_after_s": 3}, "cut: no parameter 'retry_after_s'; there is after_tokens, how, share"),
        (GOOD | {"after_tokens": -1}, "after_tokens must be a whole number of at least 0; it is -1"),
        (GOOD | {"after_tokens": 1.5}, "after_tokens must be a whole number"),
        (GOOD | {"after_tokens": True}, "after_tokens must be a whole number"),
        (GOOD | {"after_tokens": None}, "after_tokens must be a whole number"),
        (GOOD | {"how": "bang"}, "how must be one of fin, rst, clean_end, error, error_without_done, abort"),
        (GOOD | {"how": ["fin"]}, "how must be one of"),
        (GOOD | {"share": 0}, "share must be a number above 0 and at most 1; it is 0"),
        (GOOD | {"share": 1.01}, "share must be a number above 0 and at most 1"),
        (GOOD | {"fault": "rate_limit", "retry_after_s": -1}, "must be null, or a number of seconds"),
        (GOOD | {"fault": "slow_first_token", "delay_s": 0}, "delay_s must be a number of seconds, more than 0"),
        (GOOD | {"fault": "slow_first_token", "delay_s": None}, "delay_s must be a number of seconds"),
        (GOOD | {"fault": "flapping", "up_s": 0}, "up_s must be a number of seconds, more than 0"),
        (GOOD | {"fault": "error_500_once", "used_up": True}, "no parameter 'used_up'; there is share"),
        (GOOD | {"fault": "unhealthy", "share": 0.5}, "unhealthy: no parameter 'share'; there is none"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_what_would_be_right(vllm: Running, told: Any, words: str) -> None:
    status, said = control(vllm, "PUT", told)
    assert status == 400
    assert words in said["error"]
    assert control(vllm, "GET")[1]["fault"] is None


def test_other_verbs_and_other_questions_are_refused(vllm: Running) -> None:
    assert control(vllm, "POST", GOOD) == (405, {"error": "/faults takes GET, PUT and DELETE, not POST"})
    status, said = control(vllm, "DELETE", query="?ids=a")
    assert (status, said["error"]) == (400, "no query 'ids'; did you mean 'id'?")


def test_a_set_fault_is_told_with_all_that_it_is(vllm: Running) -> None:
    before = time.time()
    with fault(vllm, "cut", who="soak 7/step ä", how="rst") as told:
        after = time.time()
        assert told | {"until": 0} == {
            "fault": "cut", "id": "soak 7/step ä", "until": 0, "share": 1.0, "after_tokens": 1, "how": "rst",
        }  # fmt: skip
        assert before + LONG_S - 0.1 <= told["until"] <= after + LONG_S + 0.1
        assert control(vllm, "GET")[1]["fault"] == told
    assert control(vllm, "GET")[1]["fault"] is None


def test_the_id_is_the_lock(vllm: Running) -> None:
    with fault(vllm, "stall", who="one/a") as told:
        status, said = control(vllm, "PUT", GOOD | {"id": "two/b"})
        assert (status, said["fault"]) == (409, told)
        assert "stall is set by 'one/a'" in said["error"]
        status, said = control(vllm, "DELETE", query="?id=two%2Fb")
        assert (status, said["fault"]) == (409, told)
        assert control(vllm, "GET")[1]["fault"] == told
        # Its own id may: the same is told a new deadline, another takes its place.
        assert put(vllm, "stall", who="one/a")["until"] > told["until"]
        assert put(vllm, "rate_limit", who="one/a")["fault"] == "rate_limit"
        assert see(vllm).status == 429
        for _ in range(2):
            assert control(vllm, "DELETE", query="?id=one%2Fa") == (200, {"fault": None})
    assert see(vllm).status == 200


def test_a_lock_past_its_deadline_is_none(vllm: Running) -> None:
    put(vllm, "rate_limit", for_s=0.2, who="one/a")
    until(lambda: see(vllm).status == 200)
    with fault(vllm, "unavailable", who="two/b"):
        # Of a fault that is over, another's id takes nothing away.
        assert control(vllm, "DELETE", query="?id=one%2Fa")[0] == 409
        assert see(vllm).status == 503


def test_an_answer_begun_before_a_fault_was_set_or_ending_after_it_is_whole(vllm: Running) -> None:
    response = vllm.ask(PATH, chat("ask-early-1", stream=True, max_tokens=900))
    next_token(response)
    with fault(vllm, "cut", after_tokens=800):
        assert b"[DONE]" in response.read()
    assert entry_of(vllm, "ask-early-1").fault is None
    with fault(vllm, "cut", after_tokens=800):
        response = vllm.ask(PATH, chat("ask-late-1", stream=True, max_tokens=900))
        next_token(response)
    assert b"[DONE]" in response.read()
    assert entry_of(vllm, "ask-late-1").fault is None


def test_a_share_of_asks_is_hit_and_the_same_in_every_run_of_a_seed(tmp_path: Path) -> None:
    hit: list[set[int]] = []
    for seed in ("7", "7", "8"):
        with (
            running("vllm", tmp_path, *QUICK, "--seed", seed) as engine,
            fault(engine, "rate_limit", share=0.4),
        ):
            hit.append(
                {n for n in range(60) if engine.ask(PATH, chat(f"ask-s-{n}", max_tokens=1)).status == 429}
            )
            if len(hit) == 1:
                # An ask that is repeated has the same luck.
                again = {n for n in hit[0] if engine.ask(PATH, chat(f"ask-s-{n}")).status == 429}
                assert again == hit[0]
    assert hit[0] == hit[1] != hit[2]
    assert 10 < len(hit[0]) < 40  # 24, if chance were even


def test_a_sigterm_lets_go_of_a_stalled_stream_which_ends_as_ever(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK, "--sigterm", "abort") as engine:
        put(engine, "stall")
        response = engine.ask(PATH, chat("ask-t-1", stream=True, max_tokens=50))
        next_token(response)
        engine.process.send_signal(signal.SIGTERM)
        assert b'"finish_reason":"abort"' in response.read()
        assert engine.process.wait(DEADLINE_S) == 0
        entry = engine.entries()[0]
    assert (entry.how, entry.written_tokens) == ("abort", 2)


def test_a_sigterm_hangs_up_on_who_waits_for_a_response(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK) as engine:
        put(engine, "no_response")
        with opened(engine, PATH, chat("ask-t-2")) as line:
            until(engine.entries)
            engine.process.send_signal(signal.SIGTERM)
            assert line.recv(1) == b""
        assert engine.process.wait(DEADLINE_S) == 0
        entry = engine.entries()[0]
    assert (entry.how, entry.fault) == ("no_response", "no_response")


def test_a_deadline_that_passes_in_a_freeze_has_passed_when_it_thaws(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK) as engine:
        told = put(engine, "rate_limit", for_s=SHORT_S)
        engine.process.send_signal(signal.SIGSTOP)
        # Asked while it is frozen; read in the same breath in which the alarm is overdue.
        with opened(engine, PATH, chat("ask-z-1", max_tokens=1)) as line:
            until(lambda: time.time() > told["until"] + 0.1)
            engine.process.send_signal(signal.SIGCONT)
            assert line.recv(65536).startswith(b"HTTP/1.1 200")
        assert entry_of(engine, "ask-z-1").fault is None


def test_a_restart_has_forgotten_the_fault(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK) as engine:
        put(engine, "rate_limit")
        assert see(engine).status == 429
    with running("vllm", tmp_path, *QUICK) as engine:
        assert control(engine, "GET")[1]["fault"] is None
        assert see(engine).status == 200


def test_the_control_and_the_asks_may_share_a_connection(vllm: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", vllm.port, timeout=DEADLINE_S)
    for method, path, body, status in (
        ("PUT", "/faults", GOOD | {"fault": "unavailable"}, 200),
        ("POST", PATH, chat(max_tokens=1), 503),
        ("DELETE", "/faults?id=a", None, 200),
        ("POST", PATH, chat(max_tokens=1), 200),
    ):
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        response.read()
        assert response.status == status
