"""What a client of a vLLM sees when the engine gets SIGTERM: one of three ends, or a drain before it."""

import http.client
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from embedded.engine.shutdown import ENDS, RACE, draw_end
from tests.embedded.engine import QUICK, SLOW, Running, chat, events, next_token, running, until

PATH = "/v1/chat/completions"
LONG = chat(stream=True, max_tokens=4000, stream_options={"include_usage": True})


def running_now(engine: Running) -> float:
    page = engine.request("/metrics").read().decode()
    return float(page.partition("\nvllm:num_requests_running{")[2].partition("} ")[2].partition("\n")[0])


def generated(engine: Running) -> int:
    page = engine.request("/metrics").read().decode()
    return int(page.partition("\nvllm:generation_tokens_total{")[2].partition("} ")[2].partition("\n")[0])


def test_an_abort_ends_a_stream_at_once_with_the_reason_with_a_token_usage_and_done(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--sigterm", "abort") as engine:
        response = engine.request(PATH, LONG)
        next_token(response)
        engine.process.send_signal(signal.SIGTERM)
        *tokens, last, usage, done = events(response)
        assert (last["choices"][0]["finish_reason"], done) == ("abort", "[DONE]")
        assert last["choices"][0]["delta"]["content"].strip()
        assert not engine.accepts()
        assert engine.process.wait() == 0
        entry = engine.entries()[0]
        assert (entry.how, entry.status) == ("abort", 200)
        assert entry.output_tokens == usage["usage"]["completion_tokens"] == len(tokens) + 2


def test_an_abort_answers_a_plain_request_with_200_and_the_text_so_far(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--sigterm", "abort") as engine:
        plain = engine.send(PATH, chat(max_tokens=4000))
        until(lambda: generated(engine) >= 3)
        engine.process.send_signal(signal.SIGTERM)
        response = plain.getresponse()
        body = json.loads(response.read())
        assert response.status == 200
        assert body["choices"][0]["finish_reason"] == "abort"
        words = body["choices"][0]["message"]["content"].split()
        assert 0 < body["usage"]["completion_tokens"] == len(words) < 4000


def test_an_abort_ends_requests_that_wait_for_a_slot_too(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--max-num-seqs", "1", "--sigterm", "abort") as engine:
        first = engine.request(PATH, LONG)
        next_token(first)
        second = engine.request(PATH, LONG)
        engine.process.send_signal(signal.SIGTERM)
        last, usage, done = events(second)[-3:]
        assert (last["choices"][0]["finish_reason"], usage["usage"]["completion_tokens"]) == ("abort", 0)
        assert done == "[DONE]"
        assert engine.process.wait() == 0
        assert [entry.started_at is None for entry in engine.entries()] == [False, True]


def test_an_error_ends_streams_with_an_event_and_done_and_plain_answers_with_500(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--sigterm", "error") as engine:
        stream, plain = engine.request(PATH, LONG), engine.send(PATH, chat(max_tokens=4000))
        next_token(stream)
        until(lambda: running_now(engine) == 2)
        engine.process.send_signal(signal.SIGTERM)
        *_, error, done = events(stream)
        assert (error["error"]["code"], error["error"]["type"], done) == (
            500,
            "InternalServerError",
            "[DONE]",
        )
        response = plain.getresponse()
        assert response.status == 500
        assert "EngineCore encountered an issue" in json.loads(response.read())["error"]["message"]
        assert not engine.accepts()
        assert engine.process.wait() == 0
        entries = engine.entries()
        assert {(entry.how, entry.ending) for entry in entries} == {("abort", None)}
        assert sorted(entry.status or 0 for entry in entries) == [200, 500]


def test_an_error_ends_requests_that_wait_for_a_slot_too(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--max-num-seqs", "1", "--sigterm", "error") as engine:
        first = engine.request(PATH, LONG)
        next_token(first)
        second = engine.request(PATH, LONG)
        engine.process.send_signal(signal.SIGTERM)
        error, done = events(second)
        assert (error["error"]["code"], done) == (500, "[DONE]")


def silent(connection: http.client.HTTPConnection) -> bool:
    """Whether no byte and no end arrives for a while; earlier bytes are skipped."""
    connection.sock.settimeout(0.3)
    try:
        while connection.sock.recv(65536):
            pass
    except TimeoutError:
        return True
    return False


def test_silence_refuses_the_port_and_holds_connections_until_all_clients_have_left(
    tmp_path: Path,
) -> None:
    with running("vllm", tmp_path, *SLOW, "--max-num-seqs", "2", "--sigterm", "silence") as engine:
        streamed, plain, waiting = (engine.send(PATH, LONG | {"stream": s}) for s in (True, False, True))
        idle = engine.send("/v1/models")
        idle.getresponse().read()
        until(lambda: generated(engine) >= 4)
        engine.process.send_signal(signal.SIGTERM)
        assert idle.sock.recv(1) == b""
        assert not engine.accepts()
        assert silent(streamed)
        assert silent(plain)
        assert silent(waiting)
        assert engine.process.poll() is None
        before = engine.entries()
        for one in (streamed, plain, waiting):
            one.close()
        assert engine.process.wait() == 0
        assert {entry.how for entry in before} == {None}
        assert {entry.how for entry in engine.entries()} == {"gone"}


@pytest.mark.parametrize("end", [*ENDS, RACE])
def test_without_running_answers_every_end_ends_the_process(end: str, tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK, "--sigterm", end) as engine:
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait() == 0


def test_the_race_is_drawn_from_the_seed_with_the_odds_of_a_real_one(tmp_path: Path) -> None:
    draws = [[draw_end(RACE, 7, tmp_path / ledger) for _ in range(340)] for ledger in ("a", "b")]
    assert draws[0] == draws[1] != [draw_end(RACE, 8, tmp_path / "c") for _ in range(340)]
    counts = {end: draws[0].count(end) for end in ENDS}
    assert 5 <= counts["abort"] <= 40
    assert 100 <= counts["error"] <= 180
    assert 140 <= counts["silence"] <= 220
    assert draw_end(RACE, 7, None) == draws[0][0]
    assert {draw_end(end, seed, tmp_path / "a") for end in ENDS for seed in range(9)} == set(ENDS)


def test_a_shutdown_timeout_lets_answers_finish_and_refuses_new_ones_while_healthy(
    tmp_path: Path,
) -> None:
    with running("vllm", tmp_path, *SLOW, "--shutdown-timeout", "10m") as engine:
        stream = engine.request(PATH, LONG | {"max_tokens": 150})
        next_token(stream)
        engine.process.send_signal(signal.SIGTERM)

        def refused() -> tuple[int, Any] | None:
            status, answer = engine.request_json(PATH, chat(max_tokens=1))
            return (status, answer) if status != 200 else None

        status, answer = until(refused) or (0, None)
        assert (status, answer["error"]["message"]) == (500, "cannot schedule new futures after shutdown")
        assert engine.request_json(PATH, chat(stream=True))[0] == 500
        assert (engine.request("/health").status, engine.request("/v1/models").status) == (200, 200)
        *_, last, usage, done = events(stream)
        assert (last["choices"][0]["finish_reason"], usage["usage"]["completion_tokens"], done) == (
            "length", 150, "[DONE]",
        )  # fmt: skip
        assert engine.process.wait() == 0
        assert not engine.accepts()


@pytest.mark.parametrize("end", ["error", "abort"])
def test_past_its_shutdown_timeout_an_answer_ends_with_an_error(end: str, tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--shutdown-timeout", "300ms", "--sigterm", end) as engine:
        stream = engine.request(PATH, LONG)
        next_token(stream)
        engine.process.send_signal(signal.SIGTERM)
        *_, error, done = events(stream)
        assert (error["error"]["code"], done) == (500, "[DONE]")
        assert engine.process.wait() == 0


def test_past_its_shutdown_timeout_an_answer_may_stall(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--shutdown-timeout", "200ms", "--sigterm", "silence") as engine:
        stream = engine.send(PATH, LONG)
        until(lambda: generated(engine) >= 2)
        engine.process.send_signal(signal.SIGTERM)
        until(lambda: not engine.accepts())
        assert silent(stream)
        assert engine.process.poll() is None
        stream.close()
        assert engine.process.wait() == 0
