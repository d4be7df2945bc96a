"""A request's record of an exchange: how it was lost, which tier served, what the gateway reported, how a document was judged."""

import datetime
import json

import pytest

from contract.classification import Classification
from contract.document import Document
from contract.framing import End, Exchange
from contract.outcome import judge
from contract.proper_end import AT_CAP, JSON_OBJECT, UNKNOWN
from contract.records import Outcome, Witness
from tests.contract.exchanges import (
    CAP,
    DONE,
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
)

LOST = [
    # end on the wire, tokens?, outcome
    (End.REFUSED, False, Outcome.REFUSED),
    (End.LATE, False, Outcome.TIMEOUT),
    (End.SILENT, False, Outcome.TIMEOUT),
    (End.SILENT, True, Outcome.STALLED),
    (End.LATE, True, Outcome.STALLED),
    (End.STOPPED, False, Outcome.ABANDONED),
    (End.STOPPED, True, Outcome.ABANDONED),
    (End.CLOSED, False, Outcome.BROKEN),
    (End.CLOSED, True, Outcome.CUT),
]


@pytest.mark.parametrize(("end", "tokens", "outcome"), LOST)
def test_an_exchange_that_was_lost(end, tokens, outcome):
    exchange, framing = received((1.0, streamed(token(), last=False))) if tokens else received()
    framing.given_up(end, 2.0, "why")
    record = recorded(exchange)
    assert (record.outcome, record.error, record.latency_ms) == (outcome, "why", 2000.0)


def test_headers_name_the_tier_on_a_200_only():
    headers = (
        "x-litellm-model-group: a",
        "x-litellm-attempted-fallbacks: 1",
        "x-litellm-attempted-retries: 0",
    )
    good = recorded(received((1.0, head("200 OK", *headers) + b"".join(WHOLE)), closed_at=2.0)[0])
    bad = recorded(received((1.0, head("500 No", *headers)), closed_at=2.0)[0])
    assert (good.tier, good.route_group, good.route_fallbacks, good.route_retries) == ("a", "a", 1, 0)
    assert (bad.tier, bad.route_group) == (None, "a")


@pytest.mark.parametrize("count", ["", "-1", "1.5", "²", "99999999", "many"])
def test_a_header_that_is_not_a_small_number_is_unknown(count):
    raw = head("200 OK", "x-litellm-attempted-fallbacks: ") [:-4] + count.encode("latin-1") + b"\r\n\r\n"  # fmt: skip
    assert recorded(received((1.0, raw), closed_at=2.0)[0]).route_fallbacks is None


def test_a_request_without_a_witness_has_the_witness_none():
    exchange, _ = received((1.0, streamed(token(), finish("stop"), DONE)))
    record = recorded(exchange, proper_end=UNKNOWN)
    assert (record.outcome, record.witness) == (Outcome.OK, Witness.NONE)


def test_an_exchange_is_not_judged_before_its_end():
    with pytest.raises(AssertionError, match="after its end"):
        judge(Exchange(), None, CAP, AT_CAP)


@pytest.mark.parametrize(
    ("header", "found"),
    [("8.1", 8.1), ("0", 0.0), ("", None), ("-1", None), ("nan", None), ("inf", None), ("x", None)],
)
def test_the_gateways_own_overhead_is_kept_unchanged_or_dropped(header, found):
    raw = head("200 OK", f"x-litellm-overhead-duration-ms: {header}")
    assert recorded(received((1.0, raw), closed_at=2.0)[0]).route_overhead_ms == found


BILL = Document(
    "bill", "A bill", ("Stadtwerke",), ("Invoice",), datetime.date(2024, 3, 12), "de", "Bill", ("a",)
)
RIGHT = {"title": "x", "correspondent": "Stadtwerke", "tags": ["a"], "document_type": "invoice",
         "document_date": "2024-03-12", "language": "de"}  # fmt: skip
HALF = json.dumps(RIGHT)[:40]


def _openai_plain(content, reason="stop"):
    return plain({"choices": [{"message": {"content": content}, "finish_reason": reason}]})


def _openai_streamed(content, reason="stop"):
    middle = len(content) // 2
    return streamed(token(content[:middle]), token(content[middle:]), finish(reason), DONE)


def _generate_plain(content, reason="stop"):
    return plain({"response": content, "done": True, "done_reason": reason})


def _chat_streamed(content, reason="stop"):
    parts = [{"message": {"content": part}, "done": False} for part in (content[:7], content[7:])]
    return lines(*parts, {"message": {"content": ""}, "done": True, "done_reason": reason})


ANSWERS = [
    # content, finish_reason; outcome, witness, valid, wrong
    (json.dumps(RIGHT), "stop", "ok", "content", True, []),
    (f"```json\n{json.dumps(RIGHT)}\n```", "stop", "ok", "content", True, []),
    (json.dumps(RIGHT | {"language": "fr"}), "stop", "ok", "content", True, ["language"]),
    ('{"correspondent": "", "tags": []}', "stop", "ok", "content", True,
     ["correspondent", "document_type", "document_date", "language"]),
    (json.dumps(RIGHT | {"tags": "a"}), "stop", "ok", "content", False, None),
    ('{"tags": [],}', "stop", "ok", "content", False, None),
    ("I cannot read this.", "stop", "ok", "none", False, None),
    (HALF, "stop", "cut", None, None, None),
    (HALF, "length", "cut", None, None, None),
    (json.dumps(RIGHT), "abort", "cut", None, None, None),
]  # fmt: skip


@pytest.mark.parametrize("answer", [_openai_plain, _openai_streamed, _generate_plain, _chat_streamed])
@pytest.mark.parametrize(("content", "reason", "outcome", "witness", "valid", "wrong"), ANSWERS)
def test_an_answer_about_a_document_is_judged_by_its_content(
    answer, content, reason, outcome, witness, valid, wrong
):
    exchange, _ = received((1.0, answer(content, reason)))
    record = recorded(exchange, proper_end=JSON_OBJECT, classification=Classification(BILL, 1))
    assert (record.outcome, record.witness, record.valid, record.wrong) == (outcome, witness, valid, wrong)
    if outcome == "cut" and reason != "abort":
        assert record.error == f"finish_reason {reason}, and the content is not a JSON object that closes"


def test_an_answer_that_never_came_is_neither_valid_nor_invalid():
    exchange, framing = received()
    framing.given_up(End.LATE, 2.0, "why")
    record = recorded(exchange, proper_end=JSON_OBJECT, classification=Classification(BILL, 1))
    assert (record.outcome, record.valid, record.wrong) == (Outcome.TIMEOUT, None, None)


def test_the_first_token_of_a_model_that_thinks_is_its_first_thought():
    thought = event({"choices": [{"delta": {"reasoning": "so"}}]})
    pieces = [(1.0, head()), (2.0, thought), (3.0, token()), (4.0, finish("length"))]
    assert recorded(received(*pieces, closed_at=5.0)[0]).first_ms == 2000.0
    silent = recorded(received(*pieces[:2], pieces[3], closed_at=5.0)[0])
    assert (silent.outcome, silent.ttft_ms, silent.first_ms) == (Outcome.OK, None, 2000.0)
