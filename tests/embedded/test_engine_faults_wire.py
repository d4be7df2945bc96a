"""Every fault inside an answer: its effect on the wire, its ledger entry, and the outcome that the harness assigns."""

import json
from typing import Any

import pytest

from tests.embedded.engine import Running
from tests.embedded.faults import CATALOGUE, PATH, P, S, entry_of, fault, send_request

WHOLE = b"\r\n0\r\n\r\n"

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
    # No byte is sent.
    ("reset_before_headers", {}, S, None, "rst", False, b"", b"HTTP", "reset", 0, "broken"),
    ("reset_before_headers", {}, P, None, "rst", False, b"", b"HTTP", "reset", 0, "broken"),
    # Cut streams.
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
    # The nearest equivalents for plain answers.
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
    # As with --max-num-queued-reqs: before any header.
    ("prefill_refused", {}, S, 503, "eof", True, b"currently busy", b"data:", "refused", 0, "rejected"),
    ("prefill_refused", {}, P, 503, "eof", True, b"currently busy", b"retry-after", "refused", 0, "rejected"),
    # Complete, in other bytes.
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
        received = send_request(engine, stream, path)
    assert (received.status, received.end) == (status, end), received.raw
    assert has in received.raw
    assert lacks not in received.raw
    if stream and status == 200:
        assert received.raw.endswith(WHOLE) == whole, received.raw[-80:]
    elif received.raw:
        head, _, body = received.raw.partition(b"\r\n\r\n")
        missing = int(head.split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
        assert missing == (0 if whole else 1)
    entry = entry_of(engine, received.nonce)
    assert (entry.how, entry.fault, entry.written_tokens) == (how, name, written)
    if outcome is not None:
        assert received.outcome() == outcome
    if status is not None and how != "refused":
        assert entry.status == status
    # The next request is a healthy one.
    after = send_request(engine, stream, path)
    assert (entry_of(engine, after.nonce).how, entry_of(engine, after.nonce).fault) == ("length", None)


def named(row: tuple[Any, ...]) -> str:
    values = "-".join(str(value) for value in row[1].values())
    return f"{row[0]}-{values}-{'streamed' if row[2] else 'plain'}"


@pytest.mark.parametrize("row", VLLM, ids=named)
def test_a_fault_on_vllm_has_the_same_effect_on_the_wire_and_in_the_ledger(
    vllm: Running, row: tuple[Any, ...]
) -> None:
    check(vllm, PATH, row)


def test_every_fault_of_the_catalogue_is_seen_in_these_tests() -> None:
    own = {
        "no_response",
        "slow_first_token",
        "stall",
        "unhealthy",
    }  # in the other test files: they take time
    assert {row[0] for row in VLLM} | own == set(CATALOGUE)


# JSON lines: no [DONE]; an error is a separate line.
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
def test_a_fault_in_ollamas_lines_is_the_nearest_equivalent(
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


def test_a_garbled_line_costs_no_token_and_is_the_only_one_that_is_not_json(vllm: Running) -> None:
    with fault(vllm, "malformed_chunk", after_tokens=2):
        received = send_request(vllm)
    lines = [line[6:] for line in received.raw.split(b"\n") if line.startswith(b"data: {")]
    broken = [at for at, line in enumerate(lines) if not _is_json(line)]
    assert broken == [3]  # after the role and two tokens
    assert len(lines) == 1 + 5 + 1 + 2  # the role, the tokens, the broken one, the end and the usage


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
