"""Bodies that real servers send, allowed by the standard or their clients: whole, or errors with the server's own message."""

import json

import pytest

from contract.framing import End, Exchange
from contract.outcome import judge
from contract.proper_end import AT_CAP
from contract.stream import read_answer
from tests.contract.exchanges import (
    CAP,
    DONE,
    ROLE,
    WHOLE,
    choice,
    chunked,
    event,
    finish,
    head,
    lines,
    plain,
    received,
    recorded,
    streamed,
    token,
    usage,
)

BODY = b"".join(WHOLE)
SINGLE = BODY.replace(b"\n\n", b"\n")
ANSWER = {"choices": [{"message": {"content": "hi"}, "finish_reason": "length"}]}
PIECES = [b'data: {"choices":', b'data: [{"delta": {"content": "hi"}}', b"data: ]}"]


def between(data: bytes) -> bytes:
    """A stream with this event between all others."""
    return streamed(*[part + b"data: " + data + b"\n\n" for part in WHOLE])


def kind(name: str | None, *parts: bytes) -> bytes:
    """A stream under another content-type, or none."""
    header = f"content-type: {name}\r\n" if name else ""
    return f"HTTP/1.1 200 OK\r\n{header}transfer-encoding: chunked\r\n\r\n".encode() + chunked(*parts)


def encoded(name: str, value: str) -> bytes:
    return head("200 OK", "content-length: 3", f"{name}: {value}") + b"\x1f\x8b\x08"


def whole(words: str, data: bytes) -> tuple[str, bytes, str, str | None]:
    return words, data, "ok", None


TABLE = [
    # in words, bytes, outcome, error; a whole one is verified by its end
    whole("events parted by a single newline", streamed(SINGLE)),
    whole("the same, the last without its end", streamed(SINGLE[:-1])),
    whole("the same with CRLF", streamed(SINGLE.replace(b"\n", b"\r\n"))),
    whole("the same with comments and fields between", streamed(SINGLE.replace(b"\n", b"\n: ping\nid: 3\n"))),
    whole("the same with words between", streamed(SINGLE.replace(b"\n", b"\ndata: ping\n"))),
    ("the same, half an object between", streamed(SINGLE.replace(b"\n", b'\ndata: {"cho\n', 3)), "cut",
     "not a JSON object: 5 bytes"),
    ("the same, closed in the midst of one", head() + SINGLE[:280], "cut", "no finish_reason"),
    ("the same, cut in the midst of one", streamed(SINGLE[:250], last=False), "cut", "connection closed"),
    ("the same, an event named error at the end", streamed(token()[:-1], b"event: error\ndata: {}\n"), "cut",
     "an error without a message"),
    whole("data on three lines, none of them JSON", streamed(b"\n".join(PIECES) + b"\n\n", finish("length"))),
    whole("data on three lines, one of them JSON",
          streamed(b'data: {"choices": [\ndata: {"delta": {"content": "hi"}}\ndata: ]}\n\n', finish("length"))),
    whole("data on lines that a bare CR parts", streamed(b"\r".join(PIECES) + b"\r\r", finish("length"))),
    whole("bare CR", streamed(BODY.replace(b"\n", b"\r"))),
    whole("CRLF", streamed(BODY.replace(b"\n", b"\r\n"))),
    whole("line ends of all kinds", streamed(token().replace(b"\n", b"\r"), token().replace(b"\n", b"\r\n"), *WHOLE)),
    whole("LF and then CRLF", streamed(BODY.replace(b"\n\n", b"\n\r\n"))),
    whole("a byte-order mark", streamed(b"\xef\xbb\xbf" + BODY)),
    whole("a byte-order mark before CRLF lines", streamed(b"\xef\xbb\xbf" + token() * 3, finish("length"))),
    whole("a last event without its empty line", streamed(token(), finish("length")[:-1])),
    whole("a last event without any line end", streamed(token(), finish("length")[:-2])),
    whole("a last [DONE] without any line end", streamed(token(), finish("length"), DONE[:-2])),
    whole("the same until the connection closes", head() + token() + finish("length")[:-2]),
    ("a last event in half", streamed(token(), finish("length")[:-9]), "cut", "no finish_reason"),
    ("the same until the connection closes", head() + token() + finish("length")[:-9], "cut", "no finish_reason"),
    ("a last line that is cut behind its object", streamed(token(), finish("length")[:-2], last=False), "cut",
     "connection closed"),
    *[whole(f"{data!r} between events", between(data)) for data in (
        b'""', b"null", b"[]", b"ping", b"0", b"1.5", b"true", b'"ping"', b": OPENROUTER PROCESSING", b"[ping]", b"{}", b"[[]]",
        b'{"type": "ping"}', b'{"code": 200, "msg": "success"}', b"", b"\x00", b"heart beat", b"-",
    )],
    ("half an object between events", between(b'{"choices": ['), "cut", "not a JSON object: 13 bytes"),
    ("the other half", between(b'"delta": {}}]}'), "cut", "not a JSON object: 14 bytes"),
    whole("data without a colon", streamed(b"data\n\n", *WHOLE)),
    whole("data without a space", streamed(BODY.replace(b"data: ", b"data:"))),
    whole("fields around data", streamed(b"retry: 3000\n\n", BODY.replace(b"data: ", b"event: message\nid: 1\ndata: "))),
    whole("an event without data", streamed(b"event: ping\n\n", *WHOLE)),
    whole("comments of a gateway", streamed(b": OPENROUTER PROCESSING\n\n" * 3, *WHOLE)),
    whole("empty lines before the stream", streamed(b"\n\n\r\n", *WHOLE)),
    whole("an event of more than 64 KiB", streamed(token("x" * 66_000), finish("length"))),
    whole("no content-type", kind(None, *WHOLE)),
    whole("content-type text/plain", kind("text/plain; charset=utf-8", *WHOLE)),
    whole("content-type application/octet-stream", kind("application/octet-stream", *WHOLE)),
    whole("content-type application/json", kind("application/json", b": ping\n\n", *WHOLE)),
    whole("content-type in capitals", kind("Text/Event-Stream", *WHOLE)),
    whole("a header's name in capitals", head().replace(b"content-type", b"CONTENT-TYPE") + BODY),
    whole("a plain answer as a stream", kind("text/event-stream", json.dumps(ANSWER).encode())),
    ("a plain error as a stream", kind("text/event-stream", b'{"error": {"message": "no"}}'), "broken", "no"),
    whole("lines as a plain answer", kind("application/json", b'{"message": {"content": "hi"}, "done": false}\n',
          b'{"done": true, "done_reason": "length"}')),
    whole("lines and CRLF and a byte-order mark", lines(b'\xef\xbb\xbf{"message": {"content": "hi"}, "done": false}\r\n',
          b'{"done": true, "done_reason": "length"}\r\n')),
    whole("lines with words between", lines({"message": {"content": "hi"}, "done": False}, b"ping\n", b"\n",
          {"done": True, "done_reason": "length"})),
    whole("a plain answer behind white space", plain(b"\n\n \r\n" + json.dumps(ANSWER).encode())),
    whole("a plain answer before white space", plain(json.dumps(ANSWER).encode() + b"\n\n \r\n")),
    whole("a plain answer that is indented", plain(json.dumps(ANSWER, indent=2).encode())),
    whole("a plain answer with a byte-order mark", plain(b"\xef\xbb\xbf" + json.dumps(ANSWER).encode())),
    whole("a plain answer until the connection closes", head(kind="application/json") + json.dumps(ANSWER).encode()),
    ("half a plain answer until the connection closes", head(kind="application/json") + json.dumps(ANSWER).encode()[:-9],
     "broken", "not a JSON object: 63 bytes"),
    ("white space alone", plain(b"\n \n"), "broken", "not a JSON object: 3 bytes"),
    whole("trailers", head("200 OK", "transfer-encoding: chunked") + chunked(*WHOLE)[:-2] + b"content-encoding: gzip\r\n\r\n"),
    ("gzip though not requested", encoded("content-encoding", "gzip"), "broken",
     "content-encoding gzip, though none was requested"),
    ("several encodings", encoded("Content-Encoding", "identity, br , ZSTD"), "broken",
     "content-encoding br, zstd, though none was requested"),
    ("gzip in the framing", head("200 OK", "transfer-encoding: gzip, chunked") + chunked(b"\x1f\x8b"), "broken",
     "transfer-encoding gzip, though none was requested"),
    whole("an encoding that is none", head("200 OK", "content-encoding: identity") + BODY),
    whole("an encoding without a name", head("200 OK", "content-encoding: ") + BODY),
    ("an error in gzip", head("503 No", "content-length: 3", "content-encoding: gzip") + b"\x1f\x8b\x08", "rejected",
     "503: content-encoding gzip"),
    whole("content in parts", streamed(choice(delta={"content": [{"type": "text", "text": "hi"}]}), finish("length"))),
    ("content in parts without text", streamed(choice(delta={"content": [{"type": "text", "text": ""}]})),
     "broken", "no content"),
    whole("a plain answer in parts", plain({"choices": [{"message": {"content": [{"text": "hi"}]}, "finish_reason": "length"}]})),
    whole("a refusal", streamed(choice(delta={"refusal": "I cannot"}), finish("length"))),
    whole("Azure's first chunk", streamed(event({"choices": [], "prompt_filter_results": [{"content_filter_results": {}}]}),
          *WHOLE)),
    whole("Azure's last delta", streamed(ROLE, token(), choice(delta=None, finish_reason="length"))),
    whole("DeepSeek's last chunk, without a delta", streamed(token(), choice(finish_reason="length"))),
    whole("SGLang's nulls", streamed(choice(delta={"role": None, "content": None, "reasoning_content": None, "tool_calls": None}),
          *WHOLE)),
    whole("finish_reason empty until the end", streamed(choice(delta={"content": "a"}, finish_reason=""), finish("length"))),
    whole("choices null, usage null", streamed(event({"choices": None, "usage": None}), *WHOLE)),
    whole("nothing but usage", streamed(token(), finish("length"), event({"usage": {"completion_tokens": CAP}}))),
    ("an event named error", streamed(token(), b'event: error\ndata: {"code": 500}\n\n', finish("length")), "cut", "500"),
    ("an event named error, in words", streamed(token(), b"event: error\ndata: upstream died\n\n"), "cut", "upstream died"),
    ("an event named error, without data", streamed(token(), b"event:error\ndata\n\n"), "cut", "an error without a message"),
    ("named after its data", streamed(token(), b'data: {"message": "died"}\nevent: error\n\n'), "cut", "died"),
    whole("the name is that of one event", streamed(b"event: message\n", token(), finish("length"))),
    ("llama.cpp's field of old", streamed(b'error: {"code": 500, "message": "died"}\n\n'), "broken", "died"),
    ("FastAPI's detail", streamed(event({"detail": "Not Found"})), "broken", "Not Found"),
    ("FastAPI's list", plain({"detail": [{"msg": "Field required", "input": "a secret"}]}, "422 No"), "rejected",
     "422: Field required"),
    ("vLLM's errors of old", streamed(token(), event({"object": "error", "message": "EngineDead", "code": 500}), DONE), "cut",
     "EngineDead"),
    ("the same, rejected", plain({"object": "error", "message": "too long", "code": 400}, "400 No"), "rejected",
     "400: too long"),
    ("Gemini's list of errors", plain([{"error": {"code": 503, "message": "overloaded"}}], "503 No"), "rejected",
     "503: overloaded"),
    ("the same in a 200", plain([{"error": {"code": 503, "message": "overloaded"}}]), "broken", "overloaded"),
    ("DashScope's", streamed(event({"code": "Throttling", "message": "slow down", "request_id": "x"})), "broken", "slow down"),
    ("an error with a code alone", streamed(event({"error": {"code": 529}})), "broken", "529"),
    ("a proxy's page", plain(b"<html>Bad Gateway</html>"), "broken", "not a JSON object: 24 bytes"),
    ("a proxy's page in a stream", kind("text/event-stream", b"<html>Bad Gateway</html>"), "broken", "no content"),
    ("vLLM's finish_reason error", streamed(token(), finish("error"), usage(CAP)), "cut", "finish_reason error"),
    ("GLM's network_error", streamed(token(), finish("network_error"), usage(CAP)), "cut", "finish_reason network_error"),
    ("DeepSeek's reason when it is full", streamed(token(), finish("insufficient_system_resource")), "cut",
     "finish_reason insufficient_system_resource"),
    ("GLM's filter", streamed(ROLE, finish("sensitive")), "filtered", "finish_reason sensitive"),
    ("thoughts, then the end of the connection", streamed(choice(delta={"reasoning": "so"}), last=False), "cut",
     "connection closed"),
    ("thoughts, then an error", streamed(choice(delta={"thinking": "so"}), event({"error": "died"})), "cut", "died"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "outcome", "error"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
@pytest.mark.parametrize("step", [1, 10**9], ids=["byte by byte", "at once"])
def test_what_servers_send_has_one_outcome_however_it_is_cut(data, outcome, error, step):
    pieces = [(1.0, data[i : i + step]) for i in range(0, len(data), step)]
    record = recorded(received(*pieces, closed_at=2.0)[0])
    assert (record.outcome, record.error) == (outcome, error)
    if outcome == "ok":
        assert record.witness == "end"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_parted_by_one_line_end_have_an_instant_each(end):
    parts = [part.replace(b"\n\n", end) for part in (ROLE, token(), token(), finish("length"), DONE)]
    pieces = [(float(i), part) for i, part in enumerate(parts, 2)]
    record = recorded(received((1.0, head()), *pieces, closed_at=9.0)[0])
    assert (record.ttft_ms, record.gaps_ms, record.latency_ms) == (3000.0, [1000.0], 9000.0)


def test_a_trailer_is_no_header():
    raw = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: a") + chunked(*WHOLE)[:-2]
    record = recorded(received((1.0, raw + b"x-litellm-model-group: b\r\n\r\n"))[0])
    assert (record.outcome, record.tier) == ("ok", "a")


def test_a_chunk_with_choices_is_one_whatever_its_other_keys():
    exchange = Exchange(
        status=200, sent_at=0.0, end=End.COMPLETE, headers={"content-type": "text/event-stream"}
    )
    chunk = {"done": False, "choices": [{"delta": {"content": "a"}, "finish_reason": "length"}]}
    exchange.pieces = [(1.0, event(chunk))]
    found = read_answer(exchange, text=True)
    assert (found.text, found.finish_reason) == (["a"], "length")


def test_an_error_of_brackets_without_end_is_read_as_fast_as_another():
    exchange = Exchange(status=502, sent_at=0.0, ended_at=1.0, end=End.COMPLETE)
    exchange.pieces = [(1.0, b"<" * 400_000)]  # a search for the end of each through the rest took minutes
    assert judge(exchange, None, 10, AT_CAP)[0] == "rejected"


@pytest.mark.parametrize("cuts", [1, 7, 10**9])
def test_a_line_of_json_is_one_however_many_pieces_it_came_in(cuts):
    body = (
        b'{"message":{"content":"a"},"done":false}\n\n{"message":{"content":"b"},"done":true,"eval_count":2}'
    )
    exchange = Exchange(
        status=200, sent_at=0.0, end=End.COMPLETE, headers={"content-type": "application/x-ndjson"}
    )
    exchange.pieces = [(float(i), body[i : i + cuts]) for i in range(0, len(body), cuts)]
    found = read_answer(exchange, text=True)
    assert (found.text, found.output_tokens, found.done) == (["a", "b"], 2, True)
