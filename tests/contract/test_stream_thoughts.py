"""Thoughts of a model, however they are spelt, are not the content of its answer."""

import datetime
import json

import pytest

from contract.classification import Classification
from contract.document import Document
from contract.framing import End
from contract.proper_end import JSON_OBJECT
from contract.stream import HAS_CONTENT
from tests.contract.exchanges import (
    DONE,
    ROLE,
    choice,
    chunked,
    finish,
    head,
    lines,
    plain,
    reasoned,
    received,
    recorded,
    streamed,
    token,
)

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
        parts = [{"message": {"content": part}, "done": False} for part in _split(content, size)]
        raw = lines(*parts, {"message": {"content": ""}, "done": True, "done_reason": "stop"})
    else:
        raw = streamed(*[token(part) for part in _split(content, size)], finish("stop"), DONE)
    if spelt == "as Go spells it":
        raw = streamed(*[token(part).replace(b"<", b"\\u003c").replace(b">", b"\\u003e") for part in _split(content, size)],
                       finish("stop"))  # fmt: skip
    record = recorded(
        received((1.0, raw), closed_at=2.0)[0],
        proper_end=JSON_OBJECT,
        classification=Classification(BILL, 1),
    )
    assert (record.outcome, record.witness, record.valid) == found


@pytest.mark.parametrize(("content", "found"), THOUGHTS)
def test_thoughts_in_a_plain_answer_are_not_its_content(content, found):
    raw = plain({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]})
    record = recorded(received((1.0, raw))[0], proper_end=JSON_OBJECT, classification=Classification(BILL, 1))
    assert (record.outcome, record.witness, record.valid) == found


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
    record = recorded(received((1.0, raw), *pieces, *last, closed_at=9.0)[0])
    assert (record.thought_ms, record.ttft_ms, record.gaps_ms) == (thought, first, gaps)
    assert record.outcome == ("ok" if last else "cut")


@pytest.mark.parametrize("data", [choice(delta={"refusal": "no"}), reasoned("a"), token("<think>")])
def test_thoughts_and_refusals_are_detected_while_bytes_arrive(data):
    assert HAS_CONTENT.search(data)
