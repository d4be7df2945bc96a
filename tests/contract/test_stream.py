"""The outcome of an exchange: tables of bodies, with the same answer however they are cut."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.framing import End
from contract.stream import HAS_CONTENT
from tests.contract.exchanges import (
    CAP,
    DONE,
    ROLE,
    WHOLE,
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
)  # fmt: skip

ERROR = event({"error": {"message": "upstream died", "code": "500"}})
PLAIN = {
    "choices": [{"message": {"content": "hi"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": CAP},
}


def _plain(**changes):
    return plain(PLAIN | changes)


def _delta(**delta):
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def _line(word="hi", **more):
    return {"model": "m", "created_at": "2026-11-24T12:00:00.1Z", "message": {"role": "assistant", "content": word},
            "done": False} | more  # fmt: skip


def _last(reason="length", count=CAP, **more):
    return _line("", done=True, done_reason=reason, prompt_eval_count=7, eval_count=count, **more)


OUTCOMES = [
    # in words, bytes, outcome, error, witness
    ("ends at the cap", streamed(*WHOLE), "ok", None, "end"),
    ("reported as stop, but at the cap", streamed(token(), finish("stop"), usage(CAP), DONE), "ok", None, "usage"),
    ("no [DONE]", streamed(token(), finish("length"), usage(CAP)), "ok", None, "end"),
    ("no usage", streamed(token(), finish("length"), DONE), "ok", None, "end"),
    ("all in one chunk", streamed(b"".join(WHOLE)), "ok", None, "end"),
    ("CRLF", streamed(b"".join(WHOLE).replace(b"\n", b"\r\n")), "ok", None, "end"),
    ("comments between", streamed(b": ping\n\n", token(), b":\n\n", finish("length"), DONE), "ok", None, "end"),
    ("an event that says nothing", streamed(b"data:\n\n", *WHOLE), "ok", None, "end"),
    ("fields we do not know", streamed(b"id: 3\nevent: x\n" + token(), finish("length")), "ok", None, "end"),
    ("data on two lines", streamed(b'data: {"choices":\ndata: []}\n\n', *WHOLE), "ok", None, "end"),
    ("reasoning is a token", streamed(event({"choices": [{"delta": {"reasoning_content": "so"}}]}), finish("length")),
     "ok", None, "end"),
    ("reasoning under its other name", streamed(_delta(reasoning="so"), finish("length")), "ok", None, "end"),
    ("a tool call is a token", streamed(_delta(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
     finish("length")), "ok", None, "end"),
    ("tool calls that are none", streamed(_delta(tool_calls=[]), finish("tool_calls"), usage(CAP)), "broken",
     "no content: finish_reason tool_calls at 5 of 5 tokens", None),
    ("a tool call below the cap", streamed(_delta(tool_calls=[{"index": 0}]), finish("tool_calls"), usage(2)), "cut",
     "finish_reason tool_calls at 2 of 5 tokens", None),
    ("empty roles only, in every chunk", streamed(ROLE, ROLE, finish("length"), usage(CAP)), "ok", None, "end"),
    ("an empty role before and after", streamed(ROLE, token(), ROLE, finish("length")), "ok", None, "end"),
    ("several choices", streamed(event({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}),
     finish("length")), "ok", None, "end"),
    ("many words in one chunk", streamed(token("one two three four five"), finish("length"), usage(CAP)), "ok", None, "end"),
    ("the end beside the last token", streamed(token(), token("x", "length"), usage(CAP), DONE), "ok", None, "end"),
    ("usage in every chunk", streamed(event({"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": 1}}),
     event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": CAP}})), "ok", None, "usage"),
    ("usage null until the end", streamed(event({"choices": [{"delta": {"content": "a"}}], "usage": None}),
     finish("stop"), usage(CAP), event({"usage": None})), "ok", None, "usage"),
    ("no space after data:", streamed(b"".join(WHOLE).replace(b"data: ", b"data:")), "ok", None, "end"),
    ("a ping inside an event", streamed(b": ping\n" + token(), finish("length")), "ok", None, "end"),
    ("a token that spells its quotes", streamed(token('"'), token("\\"), token("\n"), finish("length")), "ok", None, "end"),
    ("a character of three bytes", streamed('data: {"choices": [{"delta": {"content": "日"}}]}\n\n'.encode() * 3,
     finish("length")), "ok", None, "end"),
    ("an empty content", streamed(token(""), token(""), finish("length"), usage(CAP)), "ok", None, "end"),
    ("an error beside a token", streamed(event({"choices": [{"delta": {"content": "a"}}], "error": "no"}), finish("length")),
     "cut", "no", None),
    ("an error that is nothing", streamed(event({"error": None}), *WHOLE), "ok", None, "end"),
    ("abort before a token", streamed(ROLE, finish("abort"), usage(0), DONE), "broken",
     "no content: finish_reason abort at 0 tokens", None),
    ("an invented stop and usage", streamed(token(), token(), finish("stop"), usage(2), DONE), "cut",
     "finish_reason stop at 2 of 5 tokens", None),
    ("stop below the cap", streamed(token(), finish("stop"), usage(2), DONE), "cut",
     "finish_reason stop at 2 of 5 tokens", None),
    ("stop and nobody counts", streamed(token(), finish("stop"), DONE), "cut",
     "finish_reason stop at no usage of 5 tokens", None),
    ("abort", streamed(token(), finish("abort"), usage(CAP), DONE), "cut", "finish_reason abort", None),
    ("[DONE] without a reason", streamed(token(), DONE), "cut", "no finish_reason", None),
    ("FIN after a token", streamed(token(), last=False), "cut", "connection closed", None),
    ("error after a token", streamed(token(), ERROR), "cut", "upstream died", None),
    ("the same with [DONE]", streamed(token(), ERROR, DONE), "cut", "upstream died", None),
    ("the same with a proper end", streamed(token(), ERROR, finish("length"), DONE), "cut", "upstream died", None),
    ("half a JSON object after a token", streamed(token(), b'data: {"cho\n\n', DONE), "cut",
     "not a JSON object: 5 bytes", None),
    ("error before a token", streamed(ROLE, ERROR, DONE), "broken", "upstream died", None),
    ("an error that is a string", streamed(event({"error": "no"})), "broken", "no", None),
    ("an error that UTF-8 cannot spell", streamed(b'data: {"error": "\\ud800"}\n\n'), "broken", "?", None),
    ("only a role", streamed(ROLE, finish("stop"), DONE), "broken",
     "no content: finish_reason stop, and no usage reports a token", None),
    ("nothing at all", streamed(DONE), "broken", "no content", None),
    ("an event that no empty line ends", streamed(token()[:-1]), "cut", "no finish_reason", None),
    ("choices that are a word", streamed(event({"choices": ["x"]})), "broken", "choices that are not objects", None),
    ("choices that are nothing", streamed(event({"choices": [None]})), "broken", "choices that are not objects", None),
    ("a delta that is a word", streamed(event({"choices": [{"delta": "x"}]})), "broken", "choices that are not objects", None),
    ("brackets without end", streamed(b"data: " + b"[" * 5_000 + b"\n\n"), "broken", "no content", None),
    ("objects without end", streamed(b"data: " + b'{"a":' * 5_000 + b"\n\n"), "broken",
     "not a JSON object: 25000 bytes", None),
    ("a filter mid-answer", streamed(token(), finish("content_filter"), DONE), "filtered",
     "finish_reason content_filter", None),
    ("a filter before a token", streamed(ROLE, finish("content_filter"), DONE), "filtered",
     "finish_reason content_filter", None),
    ("a count in words", streamed(token(), finish("stop"), event({"usage": {"completion_tokens": "five"}})), "cut",
     "finish_reason stop at no usage of 5 tokens", None),
    ("a count that fits nowhere", streamed(token(), finish("stop"), usage(10**12)), "cut",
     "finish_reason stop at no usage of 5 tokens", None),
    ("plain", _plain(), "ok", None, "end"),
    ("plain, error in a 200", plain({"error": {"message": "no"}}), "broken", "no", None),
    ("plain, truncated", plain(b'{"choices": [{"mess', length=400), "broken", "connection closed", None),
    ("plain, no JSON", plain(b"<html>"), "broken", "not a JSON object: 6 bytes", None),
    ("plain, empty choices", _plain(choices=[]), "broken", "no content", None),
    ("400", plain({"error": {"message": "bad"}}, "400 Bad"), "rejected", "400: bad", None),
    ("429", plain({"error": "slow down"}, "429 Slow"), "rejected", "429: slow down", None),
    ("500 in HTML", plain(b"<h1>Oh  no</h1>", "500 No"), "rejected", "500: Oh no", None),
    ("a filter's 400", plain({"error": {"code": "content_policy_violation", "message": "x"}}, "400 Bad"), "filtered",
     "400: x", None),
    ("a redirect", plain(b"", "302 Found"), "broken", "status 302", None),
    ("plain, a tool call", _plain(choices=[{"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "length"}]),
     "ok", None, "end"),
    ("plain, reasoning only", _plain(choices=[{"message": {"content": "", "reasoning": "so"}, "finish_reason": "length"}]),
     "ok", None, "end"),
    ("plain, abort", _plain(choices=[{"message": {"content": "a"}, "finish_reason": "abort"}]), "cut",
     "finish_reason abort", None),
    ("plain, null usage", _plain(usage=None), "ok", None, "end"),
    ("plain, content null", _plain(choices=[{"message": {"content": None}, "finish_reason": "stop"}]), "broken",
     "no content: finish_reason stop at 5 of 5 tokens, which a gateway may have invented", None),
    ("plain, filtered", _plain(choices=[{"message": {"content": ""}, "finish_reason": "content_filter"}]), "filtered",
     "finish_reason content_filter", None),
    ("lines", lines(_line(), _line(), _last()), "ok", None, "end"),
    ("lines of /api/generate", lines({"response": "hi", "done": False}, {"response": "", "done": True,
     "done_reason": "stop", "eval_count": CAP}), "ok", None, "usage"),
    ("lines that think", lines({"message": {"content": "", "thinking": "so"}, "done": False}, _last()), "ok", None, "end"),
    ("lines and CRLF", lines(json.dumps(_line()).encode() + b"\r\n\r\n", _last()), "ok", None, "end"),
    ("lines, the last without its end", lines(_line(), json.dumps(_last()).encode()), "ok", None, "end"),
    ("lines, stop below the cap", lines(_line(), _last("stop", 2)), "cut", "finish_reason stop at 2 of 5 tokens", None),
    ("lines, done without a reason", lines(_line(), _line("", done=True, eval_count=2)), "cut",
     "finish_reason stop at 2 of 5 tokens", None),
    ("lines, not done", lines(_line()), "cut", "no finish_reason", None),
    ("lines, cut in one", lines(_line(), json.dumps(_last()).encode()[:-9], last=False), "cut", "connection closed", None),
    ("lines, half of one and a proper end", lines(_line(), json.dumps(_line()).encode()[:-9]), "cut",
     "not a JSON object: 111 bytes", None),
    ("lines, an error", lines(_line(), {"error": "llama runner has gone"}), "cut", "llama runner has gone", None),
    ("lines, an error before a token", lines({"error": "busy"}), "broken", "busy", None),
    ("lines, no token", lines(_last("stop", 0)), "broken", "no content: finish_reason stop at 0 tokens", None),
    ("lines, a message that is a word", lines({"message": "hi", "done": False}), "broken", "a message that is not an object", None),
    ("lines, plain", plain(_last() | {"message": {"content": "hi"}}), "ok", None, "end"),
    ("lines, plain, stop below the cap", plain({"response": "hi", "done": True, "done_reason": "stop", "eval_count": 2}),
     "cut", "finish_reason stop at 2 of 5 tokens", None),
    ("lines, plain, an error", plain({"error": "model 'x' not found"}, "404 No"), "rejected", "404: model 'x' not found", None),
    ("no HTTP", b"SSH-2.0-x\r\n", "broken", None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "outcome", "error", "witness"), [row[1:] for row in OUTCOMES], ids=[r[0] for r in OUTCOMES]
)
@pytest.mark.parametrize("step", [1, 10**9], ids=["byte by byte", "at once"])
def test_an_exchange_has_one_outcome_however_it_is_cut(data, outcome, error, witness, step):
    pieces = [(1.0, data[i : i + step]) for i in range(0, len(data), step)]
    record = recorded(received(*pieces, closed_at=2.0)[0])
    assert (record.outcome, record.witness) == (outcome, witness)
    if outcome != "broken" or error is not None:
        assert record.error == error


def test_ttft_is_not_stamped_on_the_empty_role_delta():
    parts = [(1.0, head("200 OK")), (2.0, ROLE), (5.0, token()), (5.5, token()), (7.0, finish("length"))]
    record = recorded(received(*parts, closed_at=8.0)[0])
    assert (record.headers_ms, record.ttft_ms, record.gaps_ms, record.latency_ms) == (
        1000.0,
        5000.0,
        [500.0],
        8000.0,
    )


COUNTED = [
    # in words, bytes, instants of tokens when the whole came at once
    ("one chunk, one instant, however many words", streamed(token("one two three"), finish("length")), 1),
    (
        "two choices in one chunk",
        streamed(event({"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]})),
        2,
    ),
    ("a word beside its reasoning", streamed(_delta(content="a", reasoning="b"), token()), 2),
    ("roles and nothings", streamed(ROLE, token(""), token(), finish("length"), usage(1)), 1),
    ("lines", lines(_line(), _line(), _line(""), _last()), 2),
]


@pytest.mark.parametrize(("data", "tokens"), [row[1:] for row in COUNTED], ids=[row[0] for row in COUNTED])
def test_an_instant_for_each_chunk_with_content(data, tokens):
    assert len(recorded(received((1.0, data), closed_at=2.0)[0]).gaps_ms) == tokens - 1


def test_a_token_is_stamped_with_the_piece_that_completes_its_event():
    half = token()
    record = recorded(
        received((1.0, head() + half[:-1]), (3.0, half[-1:] + finish("length")), closed_at=4.0)[0]
    )
    assert record.ttft_ms == 3000.0


def test_a_stopped_request_keeps_its_tokens():
    exchange, framing = received((1.0, streamed(token(), last=False)))
    framing.given_up(End.STOPPED, 2.0, "stopped")
    assert recorded(exchange).ttft_ms == 1000.0


SEARCHED = [
    (token(), True),
    (ROLE, False),
    (b'"content":"', False),  # cut before it is known whether it is empty
    (b'"content": null', False),
    (b'"content" : "x', True),
    (b'"reasoning_content":"x', True),
    (b'"thinking":"x', True),
    (b'"tool_calls": [{', True),
    (b'"tool_calls": []', False),
    (finish("stop"), False),
]


@pytest.mark.parametrize(("piece", "found"), SEARCHED)
def test_a_first_token_is_detected_while_bytes_arrive(piece, found):
    assert bool(HAS_CONTENT.search(piece)) is found


@settings(deadline=None)  # the machine is shared, and speed is not tested
@given(st.data())
def test_no_cut_changes_the_answer(data):
    row = data.draw(st.sampled_from(OUTCOMES))
    raw = row[1]
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=12)))
    pieces = [(1.0, raw[a:b]) for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    whole = recorded(received((1.0, raw), closed_at=2.0)[0])
    assert dataclasses.asdict(recorded(received(*pieces, closed_at=2.0)[0])) == dataclasses.asdict(whole)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_body_raises_and_every_record_can_be_written(junk):
    for raw in (
        junk,
        head() + junk,
        head() + b"data: " + junk + b"\n\n",
        plain(junk),
        plain(junk, "500 No"),
        lines(junk),
    ):
        recorded(received((1.0, raw), closed_at=2.0)[0])


_KEYS = st.sampled_from(
    ["choices", "delta", "message", "content", "usage", "completion_tokens", "finish_reason", "error"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(_KEYS, _JSON, max_size=4), _JSON)
def test_no_shape_of_json_raises_and_every_record_can_be_written(data, choice):
    for body in (data, {"choices": [choice]}, {"choices": [{"delta": data, **data}], "usage": data}):
        recorded(received((1.0, streamed(event(body), token(), finish("stop"))))[0])
        recorded(received((1.0, plain(body)))[0])
        recorded(received((1.0, lines(body | {"done": choice}, body)))[0])
