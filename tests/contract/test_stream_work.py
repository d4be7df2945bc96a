"""The work of reading an answer grows no faster than the answer, however small its pieces, and has a limit. Work is counted."""

import json

import pytest

from contract import answer as answers
from contract import stream
from contract.answer import LONGEST_JSON
from contract.framing import Framing
from contract.stream import LastOutput, read_answer
from tests.contract.exchanges import chunked, event, head, received, recorded, streamed, token

LINES_HEAD = head("200 OK", "transfer-encoding: chunked", kind="application/x-ndjson")
EVENTS_HEAD = head("200 OK", "transfer-encoding: chunked")
BODIES = {
    "lines of one byte": (LINES_HEAD, b'{"message":{"content":"a"},"done":false}\n', b"1\n"),
    "one line in many pieces": (LINES_HEAD, b'{"message":{"content":"', b"a"),
    "empty lines": (LINES_HEAD, b'{"done":false}\n', b"\n"),
    "events of one byte": (EVENTS_HEAD, token(), b"data:1\n\n"),
    "lines of data without an event's end": (EVENTS_HEAD, token(), b"data:1\n"),
    "comments": (EVENTS_HEAD, token(), b":\n"),
    "one event in many pieces": (EVENTS_HEAD, b"data: ", b"a"),
    "objects of an event each": (EVENTS_HEAD, b"", b"data:{}\n\n"),
}  # fmt: skip


@pytest.fixture
def parsed(monkeypatch):
    """The length of each text that is given to the JSON reader."""
    seen = []
    loads = json.loads

    def counting(data):
        seen.append(len(data))
        return loads(data)

    monkeypatch.setattr(answers.json, "loads", counting)
    return seen


@pytest.mark.parametrize("name", BODIES)
def test_as_many_bytes_are_parsed_as_came_even_in_chunks_of_one_byte(name, parsed):
    begin, first, part = BODIES[name]
    work = []
    for many in (1000, 4000):
        body = first + part * many
        raw = begin + chunked(*[body[i : i + 1] for i in range(len(body))])
        exchange, _ = received(*[(float(i), raw[i : i + 7]) for i in range(0, len(raw), 7)])
        parsed.clear()
        read_answer(exchange, text=True)
        work.append((sum(parsed), len(parsed)))
        assert sum(parsed) <= 3 * len(body) + 100
    assert work[1][0] <= 4.5 * work[0][0] + 100
    assert work[1][1] <= 4.5 * work[0][1] + 100


def test_a_line_without_a_brace_is_not_parsed_at_all(parsed):
    exchange, _ = received((1.0, LINES_HEAD + chunked(b"{}\n", b"1\n" * 1000)))
    read_answer(exchange)
    assert len(parsed) <= 3


@pytest.mark.parametrize(
    ("begin", "part"), [(LINES_HEAD, b"{}\n"), (EVENTS_HEAD, b"data:{}\n\n"), (EVENTS_HEAD, b":\n")]
)
def test_an_answer_of_too_many_lines_is_broken_off_with_a_sentence(begin, part, monkeypatch):
    monkeypatch.setattr(stream, "MOST_LINES", 1000)
    exchange, _ = received((1.0, begin + chunked(b"{}\n" if begin is LINES_HEAD else token(), part * 2000)))
    record = recorded(exchange)
    assert record.outcome == ("broken" if begin is LINES_HEAD else "cut")
    assert record.error == f"more than {stream.MOST_LINES} lines"


def test_a_long_stream_of_tokens_is_within_the_limits():
    """30,000 tokens, each in an event of its own and read by itself, are more than a load requests of an engine."""
    raw = streamed(*[token(str(n)) for n in range(30_000)])
    exchange, _ = received(*[(float(i), raw[i : i + 4096]) for i in range(0, len(raw), 4096)])
    assert len(read_answer(exchange).content_at) == 30_000


def test_one_json_text_has_a_limit_because_it_takes_many_times_its_size_as_objects():
    body = b'{"choices":[' + b"{}," * (LONGEST_JSON // 3) + b"{}]}"
    exchange, _ = received(
        (1.0, head("200 OK", f"content-length: {len(body)}", kind="application/json")), (2.0, body)
    )
    assert recorded(exchange).error == f"not a JSON object: {len(body)} bytes"


def test_the_search_for_the_last_output_sees_each_byte_a_limited_number_of_times(monkeypatch):
    searched, found = [], stream._OUTPUT

    class Counting:
        def search(self, window):
            searched.append(len(window))
            return found.search(window)

    monkeypatch.setattr(stream, "_OUTPUT", Counting())
    work = []
    for many in (500, 2000):
        exchange, framing = received((0.0, EVENTS_HEAD))
        assert isinstance(framing, Framing)
        last = LastOutput(exchange.pieces)
        searched.clear()
        for at in range(many):
            framing.feed(chunked(b": ping\n\n", last=False), float(at))
            last()
        work.append(sum(searched))
    assert work[1] <= 4.5 * work[0]


def test_a_whole_event_of_many_lines_is_joined_once(parsed):
    data = b"\n".join(b"data: 1" for _ in range(2000))
    exchange, _ = received((1.0, EVENTS_HEAD + chunked(data + b"\n\n", event({"choices": []}))))
    read_answer(exchange)
    assert sum(parsed) < 3 * len(data)
