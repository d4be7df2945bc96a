"""Faults inside an engine's answers: asked for by name, refused before anything is touched, ended by our id alone."""

import json

import pytest

from chaos import faults
from chaos.fault import CannotInject, Deadman, Fault
from contract.refusal import Refusal
from contract.strict import validate
from tests.chaos.recorded.engine import FaultyEngine
from tests.chaos.targets import given, on


@pytest.fixture
def engine():
    found = FaultyEngine()
    yield found
    found.close()


def make(url: str, **options) -> Fault:
    handle = given("engine", url)
    return faults.make("engine", None, on(handle), {"answer": "cut_after"} | options)


def kept(state: dict) -> dict:
    return json.loads(json.dumps(state))


def test_the_engine_is_told_what_to_do_and_for_how_long_and_only_by_the_inject(engine):
    fault = make(engine.url, tokens=3, share=0.5)
    assert fault.deadman is Deadman.ENGINE
    state = kept(fault.snapshot())
    assert state["set"] == {"fault": "cut_after", "tokens": 3, "share": 0.5}
    fault.arm(state, 97.5)
    assert engine.fault is None
    fault.inject(state)
    assert engine.told[-1] == (
        "PUT",
        "/faults",
        {"fault": "cut_after", "for_s": 97.5, "id": state["id"], "tokens": 3, "share": 0.5},
    )
    assert fault.mended(state) is None


def test_an_inject_that_is_told_twice_is_one(engine):
    fault = make(engine.url)
    state = kept(fault.snapshot())
    fault.arm(state, 60)
    fault.inject(state)
    fault.inject(state)
    assert fault.effective(state)


def test_one_that_was_used_up_by_its_first_answer_was_effective(engine):
    fault = make(engine.url)
    state = kept(fault.snapshot())
    fault.arm(state, 60)
    fault.inject(state)
    engine.fault = None
    assert fault.effective(state) == {"fault": "cut_after", "used_up": True}
    assert fault.mended(state)


def test_another_ones_fault_is_neither_replaced_nor_ended(engine):
    fault = make(engine.url)
    state = kept(fault.snapshot())
    engine.fault = {"fault": "no_headers", "id": "theirs", "until": 0.0}
    fault.arm(state, 60)
    with pytest.raises(CannotInject, match="set by theirs"):
        fault.inject(state)
    assert fault.effective(state) is None
    fault.mend(state)
    assert fault.mended(state)
    assert engine.fault["id"] == "theirs"
    with pytest.raises(CannotInject, match=r"has a fault already: .*theirs"):
        make(engine.url).snapshot()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("cut_aftr", r"no answer 'cut_aftr'; did you mean 'cut_after'\?"),
        ("fire", "no answer 'fire'; there is cut_after, no_headers"),
    ],
)
def test_a_fault_that_the_engine_does_not_know_is_refused_with_what_would_be_right(engine, answer, words):
    with pytest.raises(CannotInject, match=words):
        make(engine.url, answer=answer).snapshot()
    assert [method for method, *_ in engine.told] == ["GET"]


def test_a_parameter_that_the_engine_does_not_know_is_refused_in_its_words(engine):
    fault = make(engine.url, tokns=3)
    state = kept(fault.snapshot())
    fault.arm(state, 60)
    with pytest.raises(CannotInject, match="no parameter 'tokns'; did you mean 'tokens'"):
        fault.inject(state)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "answer: is missing"),
        ({"answer": "x", "for_s": 600}, "for_s is told by the timeline's own keys"),
        ({"answer": "x", "id": "mine"}, "id is told by the timeline's own keys"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(Refusal, match=words):
        validate(options, faults.driver("engine").options, "with")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b'{"error": "no such path"}', "GET .*/faults: status 404: no such path"),
        (500, b"oops", "GET .*/faults: JSONDecodeError"),
        (200, b"{}", "tells no catalogue: it is no embedded engine"),
        (200, b"[]", "tells no catalogue: it is no embedded engine"),
    ],
)
def test_what_is_no_embedded_engine_is_trouble_of_the_world(engine, status, body, words):
    engine.answer = (status, body)
    fault = make(engine.url)
    with pytest.raises(OSError, match=words):
        fault.snapshot()
    with pytest.raises(OSError):
        fault.mended({"id": "x"})


def test_an_engine_that_is_gone_is_trouble_of_the_world_too(engine):
    fault = make("http://127.0.0.1:9")
    for verb in (fault.mend, fault.mended):
        with pytest.raises(OSError):
            verb({"id": "x"})
