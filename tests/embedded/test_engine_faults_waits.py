"""Faults that hold a request: for how long, and what ends the wait."""

import pytest

from chaos.probe.wire import Connection
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.framing import End
from contract.outcome import judge
from contract.proper_end import AT_CAP
from contract.request import Request
from contract.stream import read_answer
from tests.embedded.engine import DEADLINE_S, Running, chat, until
from tests.embedded.faults import (
    PATH,
    REQUEST_NUMBERS,
    SHORT_S,
    P,
    S,
    control,
    entry_of,
    fault,
    open_request,
    put,
    send_request,
)


@pytest.mark.parametrize("ping", ["comment", "data", "delta", "newline"])
def test_a_stall_with_pings_is_still_a_stall_to_a_client(vllm: Running, ping: str) -> None:
    endpoint = Endpoint.of(f"http://127.0.0.1:{vllm.port}", "m")
    connection = Connection(endpoint, Deadlines(DEADLINE_S, DEADLINE_S, SHORT_S, DEADLINE_S))
    with fault(vllm, "stall", after_tokens=2, ping_every_s=0.1, ping=ping):
        request = Request(prompt="hi", max_tokens=5, stream=True)
        found = connection.exchange(endpoint.request(f"req-f-{next(REQUEST_NUMBERS):05d}", request))
    connection.close()
    assert found.end is End.SILENT
    answer = read_answer(found)
    assert len(answer.content_at) == 2
    assert found.pieces[-1][0] > answer.content_at[-1]
    assert judge(found, answer, 5, AT_CAP)[0] == "stalled"


@pytest.mark.parametrize("stream", [S, P])
def test_no_response_holds_a_request_until_the_deadline_and_then_closes_without_a_byte(
    vllm: Running, stream: bool
) -> None:
    active = put(vllm, "no_response", for_s=SHORT_S)
    received = send_request(vllm, stream)
    assert (received.raw, received.end) == (b"", "eof")
    entry = entry_of(vllm, received.nonce)
    assert (entry.how, entry.fault, entry.status) == ("no_response", "no_response", None)
    assert (entry.started_at, entry.written_tokens) == (None, 0)
    assert entry.ended_at is not None
    assert entry.ended_at >= active["until"]
    # The deadline restored it.
    assert send_request(vllm, stream).status == 200
    assert control(vllm, "GET")[1]["fault"] is None


def test_a_client_that_leaves_a_request_without_response_is_gone(vllm: Running) -> None:
    with fault(vllm, "no_response"):
        line = open_request(vllm, PATH, chat("req-left-1"))
        until(lambda: any(one.nonce == "req-left-1" for one in vllm.entries()))
        line.close()
        entry = entry_of(vllm, "req-left-1")
    assert (entry.how, entry.fault) == ("gone", "no_response")


def test_a_held_request_is_released_by_a_delete(vllm: Running) -> None:
    with fault(vllm, "no_response"):
        line = open_request(vllm, PATH, chat("req-held-1"))
        until(lambda: any(one.nonce == "req-held-1" for one in vllm.entries()))
    with line:
        assert line.recv(1) == b""
    assert entry_of(vllm, "req-held-1").how == "no_response"


@pytest.mark.parametrize("stream", [S, P])
def test_a_stall_lasts_until_the_deadline_and_then_the_answer_continues_at_its_pace(
    vllm: Running, stream: bool
) -> None:
    active = put(vllm, "stall", for_s=SHORT_S, after_tokens=2)
    received = send_request(vllm, stream)
    entry = entry_of(vllm, received.nonce)
    assert (entry.how, entry.fault, entry.written_tokens) == ("length", "stall", 5)
    assert received.outcome() == "ok"
    before = [at for at in entry.chunks if at < active["until"]]
    assert len(before) == (2 if stream else 0)
    assert entry.started_at is not None
    # The last three were not generated meanwhile.
    if stream:
        assert entry.chunks[-1] - active["until"] > 0.0019
    assert send_request(vllm, stream).status == 200


def test_a_stalled_stream_whose_client_disconnects_is_gone_with_the_written_tokens(ollama: Running) -> None:
    with fault(ollama, "stall", after_tokens=3):
        with open_request(ollama, PATH, chat("req-left-2", stream=True, max_tokens=50)) as line:
            received = b""
            while received.count(b"data:") < 3:
                received += line.recv(65536)
            line.settimeout(0.3)
            with pytest.raises(TimeoutError):
                line.recv(65536)
        entry = entry_of(ollama, "req-left-2")
    assert (entry.how, entry.fault, entry.written_tokens) == ("gone", "stall", 3)


@pytest.mark.parametrize("stream", [S, P])
def test_the_first_token_is_slow_by_the_delay(vllm: Running, stream: bool) -> None:
    with fault(vllm, "slow_first_token", delay_s=0.3):
        received = send_request(vllm, stream)
    entry = entry_of(vllm, received.nonce)
    assert (entry.how, entry.fault, entry.written_tokens, received.outcome()) == (
        "length",
        "slow_first_token",
        5,
        "ok",
    )
    assert entry.started_at is not None
    assert 0.3 <= entry.chunks[0] - entry.started_at < 10.0


@pytest.mark.parametrize("personality", ["vllm", "cloud"])
def test_the_first_token_comes_at_the_latest_when_the_fault_ends_and_headers_are_not_delayed(
    personality: str, request: pytest.FixtureRequest
) -> None:
    engine: Running = request.getfixturevalue(personality)
    active = put(engine, "slow_first_token", for_s=SHORT_S, delay_s=600)
    response = engine.request(
        PATH, chat("req-slow-" + personality, stream=True, max_tokens=2), authorization="Bearer k"
    )
    assert response.status == 200
    assert control(engine, "GET")[1]["fault"] is not None  # headers came first
    response.read()
    entry = entry_of(engine, "req-slow-" + personality)
    assert active["until"] <= entry.chunks[0] < active["until"] + 10.0
