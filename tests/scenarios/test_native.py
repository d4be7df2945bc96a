"""Answers of the embedded engines over real sockets: Ollama's own API, and JSON that is its own witness.

A cut JSON is reported as complete, as gateways do: with "stop", a usage and status 200.
"""

import http.client
import json
import signal
from pathlib import Path

import gevent
import pytest

from contract.classification import Classification
from contract.document import read
from contract.proper_end import JSON_OBJECT
from contract.request import Request
from scenarios.gateway.sender import Sender
from scenarios.gateway.user_context import DEADLINES
from tests.embedded.engine import QUICK, SLOW, running
from tests.scenarios.user_contexts import CAP, user_context

CORPUS = Path(__file__).parents[2] / "scenarios" / "documents"
DOCUMENTS = read(CORPUS)
KNOWING = ("--documents", str(CORPUS))
NAMES = ("--served-model-name", "m", "qwen")
UNTIL_S = 20.0


def _user_context(**urls):
    return user_context("http://127.0.0.1:1", api="ollama", deadlines=DEADLINES, **urls)


def _send(found, prompt="hi", **how):
    return Sender(found, "test", lambda record, body: None).send(Request(prompt=prompt, **how))


def _classify(found, document=DOCUMENTS[0], **how):
    return _send(
        found, document.text, capped=False, temperature=0.3, proper_end=JSON_OBJECT,
        classification=Classification(document, 2), **how,
    )  # fmt: skip


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Both get requests as in the topology of `user_contexts`: vLLM with the OpenAI API, Ollama with its own."""
    folders = [tmp_path_factory.mktemp(name) for name in ("vllm", "ollama")]
    with (
        running("vllm", folders[0], *QUICK, *NAMES, *KNOWING) as vllm,
        running("ollama", folders[1], *QUICK, *NAMES, *KNOWING) as ollama,
    ):
        yield {"vllm": vllm, "ollama": ollama}


@pytest.fixture
def found(engines):
    return _user_context(**{name: f"http://127.0.0.1:{engine.port}" for name, engine in engines.items()})


def _faults(engine, method, query="", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=UNTIL_S)
    connection.request(method, "/faults" + query, json.dumps(body) if body else None)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    connection.close()


@pytest.fixture
def broken(engines):
    """Sets a fault on an engine for the length of a test."""
    hit = []

    def put(name, **fault):
        hit.append(engines[name])
        _faults(engines[name], "PUT", body={"for_s": 60, "id": "test"} | fault)

    yield put
    for engine in hit:
        _faults(engine, "DELETE", "?id=test")


@pytest.mark.parametrize("stream", [True, False])
def test_a_cap_is_ollamas_proper_end(found, stream):
    record = _send(found, stream=stream, via="ollama")
    assert (record.outcome, record.witness, record.finish_reason, record.tier) == (
        "ok",
        "end",
        "length",
        "ollama",
    )
    assert (record.output_tokens, len(record.gaps_ms)) == (CAP, CAP - 1 if stream else 0)
    assert record.prompt_tokens > 0


CUTS = [
    # of Ollama's stream: fault, its options, outcome, words of the error
    ("cut", {"after_tokens": 2}, "cut", "connection closed"),
    ("cut", {"after_tokens": 2, "how": "rst"}, "cut", "ConnectionResetError"),
    ("cut", {"after_tokens": 2, "how": "clean_end"}, "cut", "no finish_reason"),  # no done line
    ("cut", {"after_tokens": 2, "how": "error"}, "cut", "llama runner"),
    ("cut", {"after_tokens": 2, "how": "abort"}, "cut", "finish_reason abort"),
    ("no_done", {}, "cut", "no finish_reason"),
    ("unavailable", {}, "rejected", "503: server busy"),
    ("reset_before_headers", {}, "broken", "ConnectionResetError"),
]


@pytest.mark.parametrize(
    ("name", "fault", "outcome", "error"), CUTS, ids=[" ".join(map(str, r[:2])) for r in CUTS]
)
def test_the_outcome_of_ollamas_own_stream(found, broken, name, fault, outcome, error):
    broken("ollama", fault=name, **fault)
    record = _send(found, stream=True, via="ollama")
    assert (record.outcome, record.witness) == (outcome, None)
    assert error in record.error


def test_an_ollama_that_is_killed_in_mid_stream_is_a_cut(tmp_path):
    with running("ollama", tmp_path, *SLOW, *NAMES) as engine:
        found = _user_context(ollama=f"http://127.0.0.1:{engine.port}")
        sending = gevent.spawn(_send, found, stream=True, via="ollama", max_tokens=500)
        with gevent.Timeout(UNTIL_S):
            while not engine.entries():
                gevent.sleep(0.02)
            gevent.sleep(0.2)  # into the middle
            engine.process.kill()
            sending.join()
    assert sending.value.outcome == "cut"
    assert sending.value.gaps_ms


@pytest.mark.parametrize("via", ["vllm", "ollama"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_object_is_its_own_witness(found, via, stream):
    record = _classify(found, stream=stream, via=via)
    assert (record.outcome, record.witness, record.finish_reason, record.max_tokens) == (
        "ok",
        "content",
        "stop",
        None,
    )
    assert (record.document, record.attempt, record.valid, record.wrong) == (DOCUMENTS[0].id, 2, True, [])


@pytest.mark.parametrize("via", ["vllm", "ollama"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_object_that_was_cut_is_a_cut_though_it_is_reported_as_complete(found, broken, via, stream):
    broken(via, fault="cut", after_tokens=4, how="abort" if stream else "clean_end")
    record = _classify(found, stream=stream, via=via)
    assert (record.outcome, record.status, record.witness) == ("cut", 200, None)
    if not stream:
        assert record.error == "finish_reason stop, and the content is not a JSON object that closes"
        assert record.output_tokens == 4
    assert (record.document, record.valid, record.wrong) == (DOCUMENTS[0].id, None, None)


@pytest.mark.parametrize(
    ("stream", "end", "outcome", "error"),
    [
        (True, "abort", "cut", "finish_reason abort"),
        (False, "abort", "cut", "finish_reason abort"),
        (True, "error", "cut", "EngineCore encountered an issue"),
        (False, "error", "rejected", "EngineCore encountered an issue"),
    ],
)
def test_an_object_whose_engine_is_terminated_is_not_an_answer(tmp_path, stream, end, outcome, error):
    options = (*SLOW, "--inter-token-latency=300ms", "--sigterm", end, *NAMES, *KNOWING)
    with running("vllm", tmp_path, *options) as engine:
        found = _user_context(vllm=f"http://127.0.0.1:{engine.port}")
        sending = gevent.spawn(_classify, found, stream=stream, via="vllm")
        with gevent.Timeout(UNTIL_S):
            while not engine.entries():
                gevent.sleep(0.02)
            gevent.sleep(0.5)  # a token or two
            engine.process.send_signal(signal.SIGTERM)
            sending.join()
    assert sending.value.outcome == outcome
    assert error in sending.value.error


@pytest.mark.parametrize("via", ["vllm", "ollama"])
def test_words_without_an_object_do_not_show_whether_they_are_whole(found, via):
    record = _send(
        found, "no document", stream=False, via=via, max_tokens=20, proper_end=JSON_OBJECT,
        classification=Classification(DOCUMENTS[0], 1),
    )  # fmt: skip
    assert (record.outcome, record.witness, record.finish_reason) == ("ok", "none", "length")
    assert (record.valid, record.wrong) == (False, None)
