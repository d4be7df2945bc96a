"""Bodies as servers in the field send them, which the standard or their clients allow: whole, or wrong with their own words."""

import datetime
import json

import pytest

from contract import stream
from contract.classification import Classification
from contract.document import Document
from contract.framing import End, Exchange
from contract.outcome import judge
from contract.proper_end import AT_CAP, JSON_OBJECT
from contract.stream import HAS_CONTENT, Said, read_answer
from tests.contract.exchanges import (
    CAP,
    DONE,
    ROLE,
    WHOLE,
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


def choice(**more) -> bytes:
    return event({"choices": [{"index": 0, **more}]})


def between(data: bytes) -> bytes:
    """A stream with this event between all others."""
    return streamed(*[part + b"data: " + data + b"\n\n" for part in WHOLE])


def kind(name: str | None, *parts: bytes) -> bytes:
    """A stream under another content-type, or none."""
    told = f"content-type: {name}\r\n" if name else ""
    return f"HTTP/1.1 200 OK\r\n{told}transfer-encoding: chunked\r\n\r\n".encode() + chunked(*parts)


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
     "an error without a word"),
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
    ("gzip though nobody asked", encoded("content-encoding", "gzip"), "broken",
     "content-encoding gzip, though none was asked for"),
    ("several encodings", encoded("Content-Encoding", "identity, br , ZSTD"), "broken",
     "content-encoding br, zstd, though none was asked for"),
    ("gzip in the framing", head("200 OK", "transfer-encoding: gzip, chunked") + chunked(b"\x1f\x8b"), "broken",
     "transfer-encoding gzip, though none was asked for"),
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
    ("an event named error, without data", streamed(token(), b"event:error\ndata\n\n"), "cut", "an error without a word"),
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
    ask = recorded(received(*pieces, closed_at=2.0)[0])
    assert (ask.outcome, ask.error) == (outcome, error)
    if outcome == "ok":
        assert ask.witness == "end"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_parted_by_one_line_end_have_an_instant_each(end):
    parts = [part.replace(b"\n\n", end) for part in (ROLE, token(), token(), finish("length"), DONE)]
    pieces = [(float(i), part) for i, part in enumerate(parts, 2)]
    ask = recorded(received((1.0, head()), *pieces, closed_at=9.0)[0])
    assert (ask.ttft_ms, ask.gaps_ms, ask.latency_ms) == (3000.0, [1000.0], 9000.0)


def test_a_trailer_is_no_header():
    raw = head("200 OK", "transfer-encoding: chunked", "x-litellm-model-group: a") + chunked(*WHOLE)[:-2]
    ask = recorded(received((1.0, raw + b"x-litellm-model-group: b\r\n\r\n"))[0])
    assert (ask.outcome, ask.tier) == ("ok", "a")


REDIRECTS = [
    # Location, words
    ("https://user:pass@llm.example:8443/v1/chat?key=secret#x", "https://llm.example:8443/v1/chat"),
    ("/v1/chat/completions/", "/v1/chat/completions/"),
    ("//other.example/v1?token=a", "//other.example/v1"),
    ("https://[2001:db8::1]/v1", "https://[2001:db8::1]/v1"),
    ("v1?key=secret", "v1"),
]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize(("location", "place"), REDIRECTS)
def test_a_redirect_says_where_to_and_nothing_that_may_be_secret(status, location, place):
    raw = head(status, "content-length: 0", f"Location: {location}")
    ask = recorded(received((1.0, raw))[0])
    assert ask.outcome == "broken"
    assert ask.error == f"status {status[:3]}, a redirect to {place}, which is not followed"


@pytest.mark.parametrize(
    ("location", "error"),
    [(None, "status 308"), ("", "status 308"), ("http://[", "status 308, a redirect to no URL"),
     ("http://a:b/", "status 308, a redirect to no URL")],
)  # fmt: skip
def test_a_redirect_to_nowhere_is_one_all_the_same(location, error):
    given = [] if location is None else [f"location: {location}"]
    ask = recorded(received((1.0, head("308 Permanent", "content-length: 0", *given)))[0])
    assert (ask.outcome, ask.error) == ("broken", error)


BILL = Document(
    "bill", "A bill", ("Stadtwerke",), ("Invoice",), datetime.date(2024, 3, 12), "de", "Bill", ("a",)
)
RIGHT = json.dumps({"correspondent": "Stadtwerke", "tags": ["a"], "document_type": "invoice",
                    "document_date": "2024-03-12", "language": "de"})  # fmt: skip
WHOLE_JSON = ("ok", "content", True)
CUT = ("cut", None, None)
NO_JSON = ("ok", "none", False)
IN_THOUGHT = '\nIt begins with {"title": "x and so\n'

THOUGHTS = [
    # content, (outcome, witness, valid), characters of thoughts
    (f"<think>{IN_THOUGHT}</think>\n\n{RIGHT}", WHOLE_JSON),
    (f"<think>{IN_THOUGHT}</think>{RIGHT}", WHOLE_JSON),
    (f" \n<think>{IN_THOUGHT}</think>\n```json\n{RIGHT}\n```", WHOLE_JSON),
    (f"<THINK>{IN_THOUGHT}</Think>{RIGHT}", WHOLE_JSON),
    (f"<think>\n\n</think>\n\n{RIGHT}", WHOLE_JSON),
    (f"<thinking>{IN_THOUGHT}</thinking>{RIGHT}", WHOLE_JSON),
    (f"<thought>{IN_THOUGHT}</thought>{RIGHT}", WHOLE_JSON),
    (f"<reasoning>{IN_THOUGHT}</reasoning>{RIGHT}", WHOLE_JSON),
    (f"<seed:think>{IN_THOUGHT}</seed:think>{RIGHT}", WHOLE_JSON),
    (f"[THINK]{IN_THOUGHT}[/THINK]{RIGHT}", WHOLE_JSON),
    (f"◁think▷{IN_THOUGHT}◁/think▷{RIGHT}", WHOLE_JSON),
    (f"<thinking>a </think> in it{IN_THOUGHT}</thinking>{RIGHT}", WHOLE_JSON),
    (f"Okay, I read it.{IN_THOUGHT}</think>\n\n{RIGHT}", WHOLE_JSON),  # the template has opened them
    (f"</think>{RIGHT}", WHOLE_JSON),
    (f"<think>{IN_THOUGHT}</think>{RIGHT[:40]}", CUT),
    (f"Okay.{IN_THOUGHT}</think>{RIGHT[:40]}", CUT),
    (f"<think>{IN_THOUGHT}", CUT),
    ("<think>It is a bill", CUT),
    ("<think>", CUT),
    ("<think>So.</think>I cannot read this.", NO_JSON),
    (f"{RIGHT[:-1]}, \"title\": \"The tag </think> in a page\"}}", WHOLE_JSON),  # a part of the answer
    (f"```json\n{RIGHT[:-1]}, \"title\": \"<think>\"}}\n```", WHOLE_JSON),
]  # fmt: skip


def _split(content: str, size: int) -> list[str]:
    return [content[i : i + size] for i in range(0, len(content), size)] or [""]


@pytest.mark.parametrize("size", [1, 3, 7, 10**6])
@pytest.mark.parametrize("spelt", ["as it is", "as Go spells it", "lines"])
@pytest.mark.parametrize(("content", "found"), THOUGHTS)
def test_thoughts_that_lead_the_content_are_not_the_content(content, found, spelt, size):
    if spelt == "lines":
        said = [{"message": {"content": part}, "done": False} for part in _split(content, size)]
        raw = lines(*said, {"message": {"content": ""}, "done": True, "done_reason": "stop"})
    else:
        raw = streamed(*[token(part) for part in _split(content, size)], finish("stop"), DONE)
    if spelt == "as Go spells it":
        raw = streamed(*[token(part).replace(b"<", b"\\u003c").replace(b">", b"\\u003e") for part in _split(content, size)],
                       finish("stop"))  # fmt: skip
    ask = recorded(
        received((1.0, raw), closed_at=2.0)[0],
        proper_end=JSON_OBJECT,
        classification=Classification(BILL, 1),
    )
    assert (ask.outcome, ask.witness, ask.valid) == found


@pytest.mark.parametrize(("content", "found"), THOUGHTS)
def test_thoughts_in_a_plain_answer_are_not_its_content(content, found):
    raw = plain({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})
    ask = recorded(received((1.0, raw))[0], proper_end=JSON_OBJECT, classification=Classification(BILL, 1))
    assert (ask.outcome, ask.witness, ask.valid) == found


def reasoned(word: str) -> bytes:
    return choice(delta={"reasoning_content": word, "content": None})


FIRSTS = [
    # chunks, a second apart from 2 s on; the first thought, the first content, the gaps between tokens of either kind
    ([ROLE, token(), token()], None, 3000.0, [1000.0]),
    ([ROLE, reasoned("a"), reasoned("b"), token()], 3000.0, 5000.0, [1000.0, 1000.0]),
    ([token("<think>"), token("a"), token("</think>"), token("\n\n"), token("x"), token("y")], 2000.0, 6000.0, [1000.0] * 5),
    ([token("<th"), token("ink>a</"), token("think>x"), token("y")], 2000.0, 4000.0, [1000.0] * 3),
    ([token("a"), token("b"), token("</think>"), token("x")], 2000.0, 5000.0, [1000.0] * 3),
    ([token("<think>"), token("a")], 2000.0, None, [1000.0]),
    ([reasoned("a"), choice(delta={"reasoning_content": "b", "content": "x"})], 2000.0, 3000.0, [1000.0]),
    ([token("<think>a</think>"), choice(delta={"tool_calls": [{"index": 0}]})], 2000.0, 3000.0, [1000.0]),
    ([token("1 < 2"), token("</b>")], None, 2000.0, [1000.0]),
    ([choice(delta={"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]}), token()], 2000.0, 3000.0,
     [1000.0]),
    ([choice(delta={"reasoning_details": [{"type": "reasoning.encrypted"}]}), token()], 2000.0, 3000.0, [1000.0]),
    ([choice(delta={"thinking_blocks": [{"type": "thinking"}]}), token()], 2000.0, 3000.0, [1000.0]),
]  # fmt: skip


@pytest.mark.parametrize(("chunks", "thought", "first", "gaps"), FIRSTS)
@pytest.mark.parametrize("end", [End.COMPLETE, End.CLOSED])
def test_the_first_thought_is_no_first_content(chunks, thought, first, gaps, end):
    pieces = [(float(i), chunked(part, last=False)) for i, part in enumerate(chunks, 2)]
    last = [(8.0, chunked(finish("length")))] if end is End.COMPLETE else []
    raw = head("200 OK", "transfer-encoding: chunked")
    ask = recorded(received((1.0, raw), *pieces, *last, closed_at=9.0)[0])
    assert (ask.thought_ms, ask.ttft_ms, ask.gaps_ms) == (thought, first, gaps)
    assert ask.outcome == ("ok" if last else "cut")


SAYS = [
    # bytes, whether something is said
    (token(), True),
    (reasoned("so"), True),
    (token("<think>"), True),
    (finish("stop"), True),
    (usage(3), True),
    (event({"error": "died"}), True),
    (event({"message": {"content": ""}, "done": True}), True),
    (choice(delta={"refusal": "no"}), True),
    (ROLE, False),
    (b": ping\n\n", False),
    (b"data: ping\n\n", False),
    (b"data: {}\n\n", False),
    (b"\n", False),
    (b"data: [DONE]\n\n", False),
    (event({"choices": [{"delta": {"content": ""}, "finish_reason": None}], "usage": None}), False),
    (
        event(
            {
                "choices": [],
                "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": False}}}],
            }
        ),
        False,
    ),
    (event({"message": {"content": ""}, "done": False}), False),
    (token('"content": "x'), True),
]


@pytest.mark.parametrize(("data", "says"), SAYS)
@pytest.mark.parametrize("step", [1, 5, 10**9])
def test_pings_are_no_sign_that_an_answer_goes_on(data, says, step):
    pieces = [(float(i), data[i : i + step]) for i in range(0, len(data), step)]
    assert (Said(pieces)() is not None) is says


def test_what_was_said_last_is_looked_for_from_the_end():
    pieces = []
    said = Said(pieces)
    assert said() is None
    pieces += [(1.0, token()), (2.0, token()), (3.0, b": ping\n\n"), (4.0, ROLE)]
    assert said() == 2.0
    pieces += [(5.0, b": ping\n\n")] * 99
    said()
    pieces += [(6.0, b": ping\n\n")] * 9
    assert said() is None
    half = len(token()) // 2
    pieces += [(7.0, token()[:half])]
    said()
    pieces += [(8.0, token()[half:])]
    assert said() in (7.0, 8.0)


def test_a_chunk_with_choices_is_one_whatever_else_stands_in_it():
    exchange = Exchange(
        status=200, sent_at=0.0, end=End.COMPLETE, headers={"content-type": "text/event-stream"}
    )
    chunk = {"done": False, "choices": [{"delta": {"content": "a"}, "finish_reason": "length"}]}
    exchange.pieces = [(1.0, event(chunk))]
    found = read_answer(exchange, text=True)
    assert (found.text, found.finish_reason) == (["a"], "length")


def test_what_was_looked_at_before_is_not_looked_at_again_however_large_it_was(monkeypatch):
    looked, says = [], stream._SAYS

    class Counting:
        def search(self, window):
            looked.append(len(window))
            return says.search(window)

    monkeypatch.setattr(stream, "_SAYS", Counting())
    pieces = [(1.0, b"x" * 65536)] * 20
    said = Said(pieces)
    said()
    looked.clear()
    pieces += [(2.0, b": ping\n\n")]
    assert said() is None
    assert sum(looked) < 500


def test_an_error_of_brackets_without_end_is_read_as_fast_as_another():
    exchange = Exchange(status=502, sent_at=0.0, ended_at=1.0, end=End.COMPLETE)
    exchange.pieces = [(1.0, b"<" * 400_000)]  # each looked for its end through all that follows: minutes
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


@pytest.mark.parametrize("data", [choice(delta={"refusal": "no"}), reasoned("a"), token("<think>")])
def test_thoughts_and_refusals_are_seen_in_passing(data):
    assert HAS_CONTENT.search(data)
