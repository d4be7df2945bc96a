"""The page that sets and clears faults: what it returns, what it refuses, and who owns the fault."""

import http.client
import json
import time
from typing import Any

import pytest

from embedded.engine.parameters import read, shown
from tests.embedded.engine import DEADLINE_S, Running, chat, until
from tests.embedded.faults import CATALOGUE, LONG_S, PATH, control, fault, put, send_request


def test_the_catalogue_has_a_sentence_for_every_fault(vllm: Running) -> None:
    catalogue = control(vllm, "GET")[1]["catalogue"]
    assert set(catalogue) == set(CATALOGUE)
    for sentence in catalogue.values():
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert 30 < len(sentence) < 400


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_fault_returns_all_its_parameters_and_the_defaults_are_valid(name: str) -> None:
    defaults = shown(CATALOGUE[name]())
    defaults.pop("used_up", None)
    assert read(CATALOGUE[name], defaults) == CATALOGUE[name]()


GOOD = {"fault": "cut", "for_s": 30, "id": "a"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"{", "the body is not JSON"),
        ([1], "the body must be a JSON object"),
        ({"for_s": 1, "id": "a"}, "fault is missing"),
        ({"fault": "cut", "id": "a"}, "for_s is missing"),
        ({"fault": "cut", "for_s": 1}, "id is missing"),
        (GOOD | {"fault": "stal"}, "no fault 'stal'; did you mean 'stall'?"),
        (GOOD | {"fault": "fire"}, "no fault 'fire'; there is closed_after_stream, content_filter"),
        (GOOD | {"fault": None}, "no fault 'None'"),
        (GOOD | {"fault": ["cut"]}, "no fault"),
        (GOOD | {"for_s": 0}, "for_s must be a number of seconds, more than 0"),
        (GOOD | {"for_s": "30s"}, "for_s must be a number of seconds"),
        (GOOD | {"for_s": True}, "for_s must be a number of seconds"),
        (GOOD | {"for_s": 1e9}, "at most 604800; it is 1000000000.0"),
        (b'{"fault": "cut", "id": "a", "for_s": NaN}', "for_s must be a number of seconds"),
        (GOOD | {"id": ""}, "id must be a text of 1 to 200 characters"),
        (GOOD | {"id": 7}, "id must be a text"),
        (GOOD | {"after_token": 3}, "cut: no parameter 'after_token'; did you mean 'after_tokens'?"),
        (GOOD | {"retry_after_s": 3}, "cut: no parameter 'retry_after_s'; there is after_tokens, how, share"),
        (GOOD | {"after_tokens": -1}, "after_tokens must be a whole number of at least 0; it is -1"),
        (GOOD | {"after_tokens": 1.5}, "after_tokens must be a whole number"),
        (GOOD | {"after_tokens": True}, "after_tokens must be a whole number"),
        (GOOD | {"after_tokens": None}, "after_tokens must be a whole number"),
        (GOOD | {"how": "bang"}, "how must be one of fin, rst, clean_end, error, error_without_done, abort"),
        (GOOD | {"how": ["fin"]}, "how must be one of"),
        (GOOD | {"share": 0}, "share must be a number above 0 and at most 1; it is 0"),
        (GOOD | {"share": 1.01}, "share must be a number above 0 and at most 1"),
        (GOOD | {"fault": "rate_limit", "retry_after_s": -1}, "must be null, or a number of seconds"),
        (GOOD | {"fault": "slow_first_token", "delay_s": 0}, "delay_s must be a number of seconds, more than 0"),
        (GOOD | {"fault": "slow_first_token", "delay_s": None}, "delay_s must be a number of seconds"),
        (GOOD | {"fault": "flapping", "up_s": 0}, "up_s must be a number of seconds, more than 0"),
        (GOOD | {"fault": "error_500_once", "used_up": True}, "no parameter 'used_up'; there is share"),
        (GOOD | {"fault": "unhealthy", "share": 0.5}, "unhealthy: no parameter 'share'; there is none"),
    ],
)  # fmt: skip
def test_an_error_states_the_correct_form(vllm: Running, given: Any, words: str) -> None:
    status, answer = control(vllm, "PUT", given)
    assert status == 400
    assert words in answer["error"]
    assert control(vllm, "GET")[1]["fault"] is None


def test_other_verbs_and_other_queries_are_refused(vllm: Running) -> None:
    assert control(vllm, "POST", GOOD) == (405, {"error": "/faults takes GET, PUT and DELETE, not POST"})
    status, answer = control(vllm, "DELETE", query="?ids=a")
    assert (status, answer["error"]) == (400, "no query 'ids'; did you mean 'id'?")


def test_a_set_fault_is_returned_with_all_its_parameters(vllm: Running) -> None:
    before = time.time()
    with fault(vllm, "cut", owner="soak 7/step ä", how="rst") as active:
        after = time.time()
        assert active | {"until": 0} == {
            "fault": "cut", "id": "soak 7/step ä", "until": 0, "share": 1.0, "after_tokens": 1, "how": "rst",
        }  # fmt: skip
        assert before + LONG_S - 0.1 <= active["until"] <= after + LONG_S + 0.1
        assert control(vllm, "GET")[1]["fault"] == active
    assert control(vllm, "GET")[1]["fault"] is None


def test_the_id_is_the_lock(vllm: Running) -> None:
    with fault(vllm, "stall", owner="one/a") as active:
        status, answer = control(vllm, "PUT", GOOD | {"id": "two/b"})
        assert (status, answer["fault"]) == (409, active)
        assert "stall is set by 'one/a'" in answer["error"]
        status, answer = control(vllm, "DELETE", query="?id=two%2Fb")
        assert (status, answer["fault"]) == (409, active)
        assert control(vllm, "GET")[1]["fault"] == active
        # Its own id may: the same fault gets a new deadline, another fault replaces it.
        assert put(vllm, "stall", owner="one/a")["until"] > active["until"]
        assert put(vllm, "rate_limit", owner="one/a")["fault"] == "rate_limit"
        assert send_request(vllm).status == 429
        for _ in range(2):
            assert control(vllm, "DELETE", query="?id=one%2Fa") == (200, {"fault": None})
    assert send_request(vllm).status == 200


def test_a_lock_past_its_deadline_is_released(vllm: Running) -> None:
    put(vllm, "rate_limit", for_s=0.2, owner="one/a")
    until(lambda: send_request(vllm).status == 200)
    with fault(vllm, "unavailable", owner="two/b"):
        # After the end of a fault, another id cannot clear anything.
        assert control(vllm, "DELETE", query="?id=one%2Fa")[0] == 409
        assert send_request(vllm).status == 503


def test_the_control_and_the_requests_may_share_a_connection(vllm: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", vllm.port, timeout=DEADLINE_S)
    for method, path, body, status in (
        ("PUT", "/faults", GOOD | {"fault": "unavailable"}, 200),
        ("POST", PATH, chat(max_tokens=1), 503),
        ("DELETE", "/faults?id=a", None, 200),
        ("POST", PATH, chat(max_tokens=1), 200),
    ):
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        response.read()
        assert response.status == status
