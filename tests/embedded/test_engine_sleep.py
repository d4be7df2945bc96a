"""A vLLM that was put to sleep: it looks healthy, and generates no token until it is woken."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.embedded.engine import QUICK, SLOW, Running, chat, events, next_token, running, until

PATH = "/v1/chat/completions"
STATES = ("awake", "weights_offloaded", "discard_all")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("vllm", tmp_path_factory.mktemp("sleep"), *SLOW, "--dev-mode") as engine:
        yield engine


@pytest.fixture(autouse=True)
def awake(engine: Running) -> Iterator[None]:
    yield
    post(engine, "/wake_up")


def post(engine: Running, path: str) -> tuple[int, Any]:
    return engine.request_json(path, b"")


def gauge(engine: Running, name: str) -> list[float]:
    page = engine.request("/metrics").read().decode()
    return [float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(f"vllm:{name}{{")]


def has_bytes(connection: http.client.HTTPConnection, within_s: float = 0.3) -> bool:
    connection.sock.settimeout(within_s)
    try:
        return bool(connection.sock.recv(65536))
    except TimeoutError:
        return False


@pytest.mark.parametrize("path", ["/sleep", "/sleep?level=2&mode=abort"])
def test_running_answers_end_with_abort_at_once(engine: Running, path: str) -> None:
    stream = engine.request(PATH, chat(stream=True, max_tokens=4000))
    plain = engine.send(PATH, chat(max_tokens=4000))
    next_token(stream)
    until(lambda: gauge(engine, "num_requests_running") == [2.0])
    level = 2 if "2" in path else 1
    assert post(engine, path) == (200, {"status": "sleeping", "level": level})
    *_, last, done = events(stream)
    assert (last["choices"][0]["finish_reason"], done) == ("abort", "[DONE]")
    body = json.loads(plain.getresponse().read())
    assert body["choices"][0]["finish_reason"] == "abort"


def test_asleep_it_is_healthy_and_new_requests_get_no_token_until_it_is_woken(engine: Running) -> None:
    post(engine, "/sleep")
    assert engine.request_json("/is_sleeping") == (200, {"is_sleeping": True})
    assert (engine.request("/health").status, engine.request("/v1/models").status) == (200, 200)
    streamed, plain = (engine.send(PATH, chat(stream=s, max_tokens=2)) for s in (True, False))
    assert has_bytes(streamed, 30.0)  # the headers of a 200
    assert not has_bytes(streamed)
    assert not has_bytes(plain)
    assert gauge(engine, "num_requests_waiting") == [0.0]
    assert post(engine, "/wake_up") == (200, {"status": "awake", "tags": None})
    assert has_bytes(streamed, 30.0)
    assert json.loads(plain.getresponse().read())["choices"][0]["finish_reason"] == "length"
    assert engine.request_json("/is_sleeping") == (200, {"is_sleeping": False})


def test_a_kept_stream_pauses_and_continues_to_its_end(engine: Running) -> None:
    stream = engine.request(PATH, chat(stream=True, max_tokens=20))
    next_token(stream)
    post(engine, "/sleep?mode=keep")
    count = gauge(engine, "generation_tokens_total")
    until(lambda: gauge(engine, "num_requests_running") == [1.0])
    assert gauge(engine, "generation_tokens_total") == count
    post(engine, "/wake_up")
    *tokens, done = events(stream)
    assert (len(tokens), tokens[-1]["choices"][0]["finish_reason"], done) == (19, "length", "[DONE]")


@pytest.mark.parametrize(
    ("level", "values"), [(None, [1, 0, 0]), (0, [0, 0, 0]), (1, [0, 1, 0]), (2, [0, 0, 1])]
)
def test_a_metric_reports_the_sleep_level(engine: Running, level: int | None, values: list[float]) -> None:
    if level is not None:
        post(engine, f"/sleep?level={level}")
    assert gauge(engine, "engine_sleep_state") == values
    page = engine.request("/metrics").read().decode()
    assert all(f'sleep_state="{state}"}}' in page for state in STATES)


@pytest.mark.parametrize(
    ("query", "words"),
    [("level=3", "level must be one of 0, 1, 2"), ("mode=x", "mode must be one of abort, keep")],
)
def test_an_unknown_sleep_level_or_mode_is_refused(engine: Running, query: str, words: str) -> None:
    status, answer = post(engine, f"/sleep?{query}")
    assert (status, words in answer["error"]["message"]) == (400, True)
    assert engine.request_json("/is_sleeping")[1] == {"is_sleeping": False}


def test_without_the_dev_mode_it_cannot_be_put_to_sleep(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK) as engine:
        assert post(engine, "/sleep")[0] == 404
        assert engine.request("/is_sleeping").status == 404


def test_a_sigterm_during_sleep_ends_waiting_requests(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *SLOW, "--dev-mode", "--sigterm", "abort") as engine:
        post(engine, "/sleep")
        waiting = engine.request(PATH, chat(stream=True))
        engine.process.terminate()
        last, done = events(waiting)[-2:]
        assert (last["choices"][0]["finish_reason"], done) == ("abort", "[DONE]")
        assert engine.process.wait() == 0
