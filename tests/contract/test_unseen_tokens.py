"""Answers of reasoning models without shown tokens: which are whole, which are unverified, and the messages."""

import pytest

from contract.framing import End
from contract.proper_end import JSON_OBJECT, UNKNOWN
from contract.stream import HAS_CONTENT
from tests.contract.exchanges import (
    CAP,
    DONE,
    ROLE,
    event,
    finish,
    head,
    lines,
    plain,
    received,
    recorded,
    streamed,
    usage,
)


def _plain(reason, count, **message):
    choice = {"message": {"role": "assistant", "content": None} | message, "finish_reason": reason}
    return plain({"choices": [choice], "usage": None if count is None else {"completion_tokens": count}})


def _delta(**delta):
    return event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def _last(reason, count):
    return {
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": reason,
        "eval_count": count,
    }


INVENTED = ", which a gateway may have invented"
UNSEEN = [
    # in words, bytes; directly to a tier: outcome, error, witness; through the gateway, if different
    ("length, counted, streamed", streamed(ROLE, finish("length"), usage(1), DONE), ("ok", None, "end"), None),
    ("length, counted, plain", _plain("length", 1), ("ok", None, "end"), None),
    ("length, counted, Ollama's lines", lines(_last("length", 1)), ("ok", None, "end"), None),
    ("length, counted, Ollama's plain", plain(_last("length", 1)), ("ok", None, "end"), None),
    ("the cap reached, streamed", streamed(ROLE, finish("stop"), usage(CAP), DONE), ("ok", None, "usage"),
     ("broken", f"no content: finish_reason stop at 5 of 5 tokens{INVENTED}", None)),
    ("the cap reached, plain", _plain("stop", CAP), ("ok", None, "usage"),
     ("broken", f"no content: finish_reason stop at 5 of 5 tokens{INVENTED}", None)),
    ("the cap reached, Ollama's lines", lines(_last("stop", CAP)), ("ok", None, "usage"),
     ("broken", f"no content: finish_reason stop at 5 of 5 tokens{INVENTED}", None)),
    ("a stop below the cap", streamed(ROLE, finish("stop"), usage(3), DONE),
     ("broken", "no content: finish_reason stop at 3 of 5 tokens", None),
     ("broken", f"no content: finish_reason stop at 3 of 5 tokens{INVENTED}", None)),
    ("length at no token", streamed(ROLE, finish("length"), usage(0), DONE),
     ("broken", "no content: finish_reason length at 0 tokens", None), None),
    ("length, and nobody counts", streamed(ROLE, finish("length"), DONE),
     ("broken", "no content: finish_reason length, and no usage reports a token", None), None),
    ("length, and nobody counts, plain", _plain("length", None),
     ("broken", "no content: finish_reason length, and no usage reports a token", None), None),
    ("counted, and no reason", streamed(ROLE, usage(1), DONE), ("broken", "no content", None), None),
    ("an abort", streamed(ROLE, finish("abort"), usage(CAP), DONE),
     ("broken", "no content: finish_reason abort at 5 of 5 tokens", None), None),
    ("an error beside it", streamed(ROLE, event({"error": "no"}), finish("length"), usage(1), DONE), ("broken", "no", None), None),
    ("nothing, of which a gateway makes a stop", streamed(ROLE, finish("stop"), usage(0), DONE),
     ("broken", "no content: finish_reason stop at 0 tokens", None), None),
]  # fmt: skip


@pytest.mark.parametrize("through", [False, True], ids=["direct", "gateway"])
@pytest.mark.parametrize(
    ("data", "direct", "gateway"), [row[1:] for row in UNSEEN], ids=[row[0] for row in UNSEEN]
)
def test_the_outcome_of_an_answer_without_shown_tokens(data, direct, gateway, through):
    record = recorded(received((1.0, data), closed_at=2.0)[0], "gateway" if through else "vllm")
    assert (record.outcome, record.error, record.witness) == (gateway if through and gateway else direct)
    assert (record.ttft_ms, record.gaps_ms) == (None, [])
    assert record.first_ms == (record.latency_ms if record.outcome == "ok" else None)


def test_with_witness_none_a_spent_cap_is_whole_and_unverified():
    exchange, _ = received((1.0, _plain("length", 1)))
    assert recorded(exchange, proper_end=UNKNOWN).witness == "none"
    exchange, _ = received((1.0, _plain("stop", 3)))
    assert recorded(exchange, "vllm", proper_end=UNKNOWN).outcome == "broken"


def test_an_answer_that_is_verified_by_its_content_is_broken_without_any():
    exchange, _ = received((1.0, _plain("length", CAP)))
    record = recorded(exchange, "vllm", proper_end=JSON_OBJECT)
    assert (record.outcome, record.error) == ("broken", "no content: finish_reason length at 5 of 5 tokens")


SHOWN = [
    {"reasoning": "so"}, {"reasoning_content": "so"}, {"content": None, "reasoning_content": "so"}, {"thinking": "so"},
    {"reasoning_details": [{"type": "reasoning.text", "text": "so"}]},
    {"thinking_blocks": [{"type": "thinking", "thinking": "so"}]}, {"content": None, "refusal": "No."},
    {"content": "", "provider_specific_fields": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}},
]  # fmt: skip


@pytest.mark.parametrize("delta", SHOWN, ids=[" and ".join(one) for one in SHOWN])
def test_thoughts_and_a_refusal_are_tokens_of_the_model(delta):
    for data in (streamed(ROLE, _delta(**delta), finish("length"), DONE), _plain("length", None, **delta)):
        record = recorded(received((1.0, data), closed_at=2.0)[0])
        assert (record.outcome, record.error, record.witness) == ("ok", None, "end")
    exchange, framing = received((1.0, streamed(ROLE, _delta(**delta), last=False)))
    framing.given_up(End.SILENT, 9.0, "silence")
    assert recorded(exchange).outcome == "stalled"


@pytest.mark.parametrize("delta", SHOWN, ids=[" and ".join(one) for one in SHOWN])
def test_a_thought_is_seen_while_bytes_arrive(delta):
    assert HAS_CONTENT.search(_delta(**delta))


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": ""},
        {"reasoning_details": []},
        {"thinking_blocks": []},
        {"content": None, "refusal": None},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": None,
            "provider_specific_fields": {"refusal": None},
        },
    ],
)
def test_an_empty_field_is_not_a_token(delta):
    data = _delta(**delta)
    assert not HAS_CONTENT.search(data)
    record = recorded(received((1.0, head("200 OK") + data + finish("stop")), closed_at=2.0)[0])
    assert (record.outcome, record.ttft_ms) == ("broken", None)
