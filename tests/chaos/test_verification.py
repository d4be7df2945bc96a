"""A restore is verified by a whole answer of the tier itself, by its own API."""

import os
import queue
import signal
import threading
import time

import pytest

from chaos.errors import NotYet
from chaos.probe import verification
from chaos.probe.verification import Answers, Question
from contract.clock import Clock
from contract.refusal import Refusal
from contract.topology import Topology
from tests.chaos.passing import Passing
from tests.chaos.stand import until
from tests.contract.exchanges import plain
from tests.embedded.engine import QUICK, running
from tests.ports import held_port
from tests.scenarios.server import Server


def _missing(patience_s=10.0, **tier):
    tier = {"name": "ollama", "match": {"group": "b"}, "model": "qwen"} | tier
    found = Topology.model_validate({"gateway": {"url": "http://g", "model": "a"}, "tiers": [tier]})
    return Answers(found, ["ollama"], Clock()).missing("ollama", patience_s)


@pytest.fixture(scope="module")
def ollama(tmp_path_factory):
    with running(
        "ollama", tmp_path_factory.mktemp("o"), *QUICK, "--served-model-name", "m", "qwen"
    ) as engine:
        yield engine


@pytest.mark.parametrize("api", ["openai", "ollama"])
def test_a_tier_gets_a_request_of_its_own_api(ollama, api):
    before = len(ollama.entries())
    assert _missing(url=f"http://127.0.0.1:{ollama.port}", api=api) is None
    [entry] = ollama.ended(before + 1)[before:]
    assert (entry.path, entry.max_tokens, entry.how) == (
        {"openai": "/v1/chat/completions", "ollama": "/api/chat"}[api], 1, "length",
    )  # fmt: skip


def test_a_tier_without_a_url_gets_no_request_and_is_reported_as_unknown():
    assert _missing() is None
    found = Topology.model_validate(
        {
            "gateway": {"url": "http://g", "model": "a"},
            "tiers": [{"name": "o", "match": {"group": "b"}, "model": "q"}],
        }
    )
    assert Answers(found, ["o"], Clock()).question("o", 1.0).look() == {
        "answered": "unknown", "unanswered": "the topology gives o no url",
    }  # fmt: skip


def test_what_is_missing_is_reported():
    assert _missing(url=f"http://127.0.0.1:{held_port()}").startswith("ollama does not answer: refused: ")
    with Server(
        [plain({"message": {"content": "x"}, "done": True, "done_reason": "stop", "eval_count": 0})]
    ) as server:
        missing = _missing(url=server.url, api="ollama")
        assert missing == "ollama does not answer: cut: finish_reason stop at 0 of 1 tokens"
        assert _missing(url=server.url, api="ollama", witness="none") is None


@pytest.mark.parametrize(
    ("personality", "api"),
    [("vllm", "openai"), ("ollama", "openai"), ("ollama", "ollama"), ("cloud", "openai")],
)
@pytest.mark.parametrize("reasoning", ["reasoning", "hidden"])
def test_one_token_of_a_reasoning_model_verifies_a_restore(
    personality, api, reasoning, tmp_path, monkeypatch
):
    monkeypatch.setenv("TEST_TIER_KEY", "k")
    with running(personality, tmp_path, *QUICK, "--model", "qwen", "--reasoning", reasoning) as engine:
        url = f"http://127.0.0.1:{engine.port}"
        assert _missing(url=url, api=api, api_key="${TEST_TIER_KEY}") is None
        assert engine.ended(1)[0].max_tokens == 1


def test_an_answer_without_a_token_verifies_none():
    choice = {"message": {"content": None}, "finish_reason": "length"}
    for usage, words in (
        ({"completion_tokens": 0}, "finish_reason length at 0 tokens"),
        (None, "finish_reason length, and no usage reports a token"),
    ):
        with Server([plain({"choices": [choice], "usage": usage})]) as server:
            assert _missing(url=server.url) == f"ollama does not answer: broken: no content: {words}"


def test_a_newer_model_gets_its_own_parameters_which_a_refusal_names(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_TIER_KEY", "k")
    newer = ("--unsupported-parameters", "max_tokens", "--least-output-tokens", "8")
    with running("cloud", tmp_path, *QUICK, *newer, "--model", "qwen", "--reasoning", "hidden") as engine:
        tier = {"url": f"http://127.0.0.1:{engine.port}", "api_key": "${TEST_TIER_KEY}"}
        assert _missing(**tier).endswith(" instead. (set max_tokens_field: max_completion_tokens of ollama)")
        tier["max_tokens_field"] = "max_completion_tokens"
        assert "set probe_max_tokens, and max_tokens for users of ollama)" in _missing(**tier)
        assert _missing(**tier, probe_max_tokens=8) is None
        assert engine.ended(3)[-1].max_tokens == 8


def test_headers_of_its_own_go_out_and_an_error_that_repeats_one_loses_it(monkeypatch):
    monkeypatch.setenv("TEST_SSO", "s3cret-of-the-proxy")
    echo = plain({"error": {"message": "bad token s3cret-of-the-proxy"}}, "401 Unauthorized")
    with Server([echo]) as server:
        missing = _missing(url=server.url, headers={"Authorization": "Bearer ${TEST_SSO}"})
    assert missing == "ollama does not answer: rejected: 401: bad token (key)"
    assert b"\r\nAuthorization: Bearer s3cret-of-the-proxy\r\n" in server.requests[0]


def test_a_key_that_is_not_there_is_refused_before_any_fault(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(Refusal, match="NO_SUCH_KEY is not set"):
        _missing(url="http://127.0.0.1:1", api_key="${NO_SUCH_KEY}")


def test_the_gateway_itself_gets_the_request_and_any_tier_may_answer(ollama):
    tier = {
        "name": "vllm",
        "match": {"group": "b"},
        "model": "qwen",
        "url": f"http://127.0.0.1:{held_port()}",
    }
    gateway = {"url": f"http://127.0.0.1:{ollama.port}", "model": "qwen"}
    found = Topology.model_validate({"gateway": gateway, "tiers": [tier]})
    answers = Answers(found, ["gateway", "vllm"], Clock())
    assert answers.missing("gateway", 10.0) is None
    assert answers.missing("vllm", 10.0).startswith("vllm does not answer: refused: ")
    gone = Topology.model_validate(
        {"gateway": gateway | {"url": f"http://127.0.0.1:{held_port()}"}, "tiers": [tier]}
    )
    assert (
        Answers(gone, ["gateway"], Clock())
        .missing("gateway", 1.0)
        .startswith("gateway does not answer: refused: ")
    )


class Sent:
    """The requests of a question, each with its patience; a test ends them."""

    def __init__(self) -> None:
        self.patience: list[float] = []
        self.ends: queue.Queue[str | None] = queue.Queue()

    def __call__(self, patience_s: float) -> str | None:
        self.patience.append(patience_s)
        return self.ends.get()


@pytest.fixture
def waiting(monkeypatch):
    monkeypatch.setattr(verification, "LOOK_S", 0.01)
    sent, clock = Sent(), Passing()
    yield sent, Question(sent, clock, 900.0), clock
    for _ in range(4):
        sent.ends.put("the test is over")


def _looked(question: Question, after: int = 1) -> str:
    """What is missing after so many looks."""
    for _ in range(after):
        with pytest.raises(NotYet) as found:
            question.look()
    return str(found.value)


def test_a_look_that_a_signal_interrupts_for_longer_than_it_waits_ends_all_the_same(waiting, monkeypatch):
    _, question, _ = waiting
    monkeypatch.setattr(verification, "LOOK_S", 0.2)
    before = signal.signal(signal.SIGUSR1, lambda *_: time.sleep(0.5))
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert _looked(question) == "no answer yet"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_one_request_waits_for_as_long_as_the_restore_may_take(waiting):
    sent, question, clock = waiting
    assert _looked(question, after=3) == "no answer yet"
    clock.wait(15.0)
    assert _looked(question) == "no answer yet; a request has waited 15 s"
    until(lambda: sent.patience, "it is sent, by a thread of its own")
    assert sent.patience == [900.0]
    sent.ends.put(None)
    assert until(lambda: _answer(question), "the answer") == {"answered": "yes"}


def test_a_fresh_request_finds_the_tier_well_where_the_first_was_lost(waiting):
    sent, question, clock = waiting
    _looked(question)
    clock.wait(20.0)
    _looked(question, after=3)
    until(lambda: len(sent.patience) == 2, "a second is sent")
    assert sent.patience == [900.0, 20.0]
    sent.ends.put("vllm does not answer: late")  # one of the two; the other goes on
    assert until(lambda: "late" in _looked(question), "it is heard")
    clock.wait(40.0)
    until(lambda: _looked(question) and len(sent.patience) == 3, "a third is sent")


def test_a_refused_request_is_sent_again(waiting):
    sent, question, _ = waiting
    for _ in range(3):
        sent.ends.put("vllm does not answer: refused")
    until(lambda: _looked(question) and len(sent.patience) >= 4, "one after the other")
    assert _looked(question) == "vllm does not answer: refused"


def test_a_bug_is_reported_as_a_missing_answer(monkeypatch):
    monkeypatch.setattr(verification, "LOOK_S", 1.0)
    assert (
        _looked(Question(lambda patience_s: 1 / 0, Passing(), 1.0)) == "ZeroDivisionError: division by zero"
    )


def _answer(question: Question):
    try:
        return question.look()
    except NotYet:
        return None


def test_a_model_that_loads_at_the_first_request_is_waited_for_and_its_load_is_not_aborted(
    tmp_path, monkeypatch
):
    """As in Ollama: the load is aborted with the client that started it. Requests of half a second never see its end."""
    monkeypatch.setattr(verification, "FRESH_AFTER_S", 0.5)
    monkeypatch.setattr(verification, "FRESH_PATIENCE_S", 0.5)
    load = ("--load-at-first-request", "1500ms", "--model", "qwen")
    with running("ollama", tmp_path, *QUICK, *load) as engine:
        tier = {
            "name": "ollama",
            "match": {"group": "b"},
            "model": "qwen",
            "url": f"http://127.0.0.1:{engine.port}",
        }
        found = Topology.model_validate({"gateway": {"url": "http://g", "model": "a"}, "tiers": [tier]})
        answers = Answers(found, ["ollama"], Clock())
        for _ in range(2):
            assert "ollama does not answer: timeout" in answers.missing("ollama", 0.5)
        question = answers.question("ollama", 60.0)
        assert until(lambda: _answer(question), "the answer") == {"answered": "yes"}
