"""Faults in an engine's answers: set by name, refused before any change, ended only by our id."""

import json
from dataclasses import replace

import pytest

from chaos import faults
from chaos.errors import CannotInject
from chaos.fault import Deadman, Fault
from chaos.target import target_of
from chaos.undo.journal import Undo
from contract import topology
from contract.refusal import Refusal
from contract.strict import validate
from tests import tls
from tests.chaos.recorded.engine import FaultyEngine
from tests.chaos.records import UNDO
from tests.chaos.targets import given, on


@pytest.fixture
def engine():
    found = FaultyEngine()
    yield found
    found.close()


def make(url: str, **options) -> Fault:
    handle = given("engine", url)
    return faults.make("engine", None, on(handle), {"answer": "cut_after"} | options)


STACK = """
gateway: {{url: "http://127.0.0.1:1", model: m}}
tiers: [{{name: vllm, match: {{group: m}}, url: "{url}", model: m, api_key: "${{VLLM_KEY}}", {more}handles: {{engine: {engine}}}}}]
"""


def of_topology(url: str, engine: str, more: str = "") -> Fault:
    stack = topology.read_text(STACK.format(url=url, engine=engine, more=more))
    target = target_of(stack, "vllm", ("engine",))
    assert target is not None
    return faults.make("engine", None, target, {"answer": "cut_after"})


def kept(state: dict) -> dict:
    return json.loads(json.dumps(state))


def test_only_the_inject_sends_the_fault_and_its_duration_to_the_engine(engine):
    fault = make(engine.url, tokens=3, share=0.5)
    assert fault.deadman is Deadman.ENGINE
    state = kept(fault.snapshot())
    assert state["set"] == {"fault": "cut_after", "tokens": 3, "share": 0.5}
    fault.arm(state, 97.5)
    assert engine.fault is None
    fault.inject(state)
    assert engine.requests[-1] == (
        "PUT",
        "/faults",
        {"fault": "cut_after", "for_s": 97.5, "id": state["id"], "tokens": 3, "share": 0.5},
    )
    assert fault.restored(state) is None


@pytest.mark.parametrize("path", ["", "/v1"])
def test_the_tiers_own_url_is_spoken_to_without_its_v1_and_with_its_key(engine, monkeypatch, path):
    monkeypatch.setenv("VLLM_KEY", "a-key")
    of_topology(engine.url + path, "true").snapshot()
    assert engine.requests == [("GET", "/faults", None)]
    assert engine.keys == ["Bearer a-key"]


def test_an_address_that_is_the_tiers_own_is_the_same_and_any_other_gets_no_key(engine, monkeypatch):
    monkeypatch.setenv("VLLM_KEY", "a-key")
    of_topology(f"{engine.url}/v1", engine.url).snapshot()
    of_topology("http://127.0.0.1:9/v1", engine.url).snapshot()
    assert engine.keys == ["Bearer a-key", None]


def test_the_tiers_authority_is_believed_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_KEY", "a-key")
    ca_file, context = tls.certificate(tmp_path)
    engine = FaultyEngine(context)
    try:
        assert of_topology(engine.url, "true", f"ca_file: {ca_file}, ").snapshot()["set"]
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            of_topology(engine.url, "true").snapshot()
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ('{name: vllm, match: {group: m}, handles: {engine: true}}', "'vllm': handles: engine: true is the tier's own url, and it has none"),
        ('{name: vllm, match: {group: m}, handles: {engine: flase}}', "handles: engine: 'flase' is not a url; write it like http://host:port"),
    ],
)  # fmt: skip
def test_an_engine_that_has_no_address_is_refused(stack, words):
    with pytest.raises(Refusal) as e:
        topology.read_text(f'{{gateway: {{url: "http://127.0.0.1:1", model: m}}, tiers: [{stack}]}}')
    assert words in str(e.value)


def test_a_record_that_was_written_before_it_held_a_server_is_restored_by_its_handle(engine):
    record = json.loads(replace(UNDO, fault="engine", kind="engine", handle=engine.url).to_json())
    record.pop("server", None)
    undo = Undo.of_json(json.dumps(record))
    faults.make("engine", None, undo.made_on, {"answer": "cut_after"}).restore({"id": "ours"})
    assert engine.requests == [("DELETE", "/faults?id=ours", None)]


def test_an_inject_that_is_sent_twice_is_one(engine):
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
    assert fault.restored(state)


def test_another_ones_fault_is_neither_replaced_nor_ended(engine):
    fault = make(engine.url)
    state = kept(fault.snapshot())
    engine.fault = {"fault": "no_headers", "id": "theirs", "until": 0.0}
    fault.arm(state, 60)
    with pytest.raises(CannotInject, match="set by theirs"):
        fault.inject(state)
    assert fault.effective(state) is None
    fault.restore(state)
    assert fault.restored(state)
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
    assert [method for method, *_ in engine.requests] == ["GET"]


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
        ({"answer": "x", "for_s": 600}, "for_s is set by the timeline's own keys"),
        ({"answer": "x", "id": "mine"}, "id is set by the timeline's own keys"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(Refusal, match=words):
        validate(options, faults.driver("engine").options, "with")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b'{"error": "no such path"}', "GET .*/faults: status 404: no such path"),
        (500, b"oops", "GET .*/faults: status 500: oops"),
        (200, b"{}", "returned no catalogue: it is not an embedded engine"),
        (200, b"[]", "returned no catalogue: it is not an embedded engine"),
    ],
)
def test_what_is_not_an_embedded_engine_is_an_error(engine, status, body, words):
    engine.answer = (status, body)
    fault = make(engine.url)
    with pytest.raises(OSError, match=words):
        fault.snapshot()
    with pytest.raises(OSError):
        fault.restored({"id": "x"})


def test_an_engine_that_is_gone_is_an_error_too(engine):
    fault = make("http://127.0.0.1:9")
    for verb in (fault.restore, fault.restored):
        with pytest.raises(OSError):
            verb({"id": "x"})
