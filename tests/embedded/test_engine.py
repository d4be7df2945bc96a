"""The engine from a client's view: a real process on a real port."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.embedded.engine import DEADLINE_S, QUICK, Running, chat, events, running, until


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    parameters = ("--served-model-name", "m", "alias", "--max-model-len", "200")
    with running("vllm", tmp_path_factory.mktemp("vllm"), *QUICK, *parameters) as engine:
        yield engine


def test_a_stream_opens_with_an_empty_role_delta_and_the_reason_comes_with_the_last_token(
    vllm: Running,
) -> None:
    response = vllm.request("/v1/chat/completions", chat(stream=True, max_tokens=3))
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(response)
    assert done == "[DONE]"
    role, *tokens = [chunk["choices"][0] for chunk in chunks]
    assert role["delta"] == {"role": "assistant", "content": ""}
    assert [token["finish_reason"] for token in tokens] == [None, None, "length"]
    assert all(token["delta"]["content"].strip() for token in tokens)
    assert tokens[-1]["stop_reason"] is None


def test_a_token_that_stops_an_answer_has_no_text(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK, "--natural-length", "2") as engine:
        *_, token, last, done = events(
            engine.request("/v1/chat/completions", chat(stream=True, max_tokens=9))
        )
    assert token["choices"][0]["finish_reason"] is None
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({"content": ""}, "stop")
    assert done == "[DONE]"


@pytest.mark.parametrize("parameters", [{"max_tokens": 200}, {"max_tokens": 197}, {"ignore_eos": True}])
def test_an_answer_ends_where_the_context_does_whatever_the_cap(
    vllm: Running, parameters: dict[str, Any]
) -> None:
    status, body = vllm.request_json("/v1/chat/completions", chat(**parameters))
    assert (status, body["choices"][0]["finish_reason"]) == (200, "length")
    assert (body["usage"]["prompt_tokens"], body["usage"]["total_tokens"]) == (7, 200)


def test_usage_comes_in_a_chunk_without_choices_and_only_on_request(vllm: Running) -> None:
    body = chat(stream=True, max_tokens=3, stream_options={"include_usage": True})
    usage, done = events(vllm.request("/v1/chat/completions", body))[-2:]
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def test_a_plain_answer_is_the_text_of_the_streamed_one(vllm: Running) -> None:
    streamed = events(vllm.request("/v1/chat/completions", chat(stream=True, max_tokens=5)))[:-1]
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in streamed)
    status, body = vllm.request_json("/v1/chat/completions", chat(max_completion_tokens=5, temperature=0.2))
    assert status == 200
    assert body["choices"][0]["message"] == {"role": "assistant", "content": text}
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


def test_the_older_completions_are_served_too(vllm: Running) -> None:
    parameters = {"model": "m", "prompt": "req-1-2", "max_tokens": 2}
    status, body = vllm.request_json("/v1/completions", parameters)
    assert (status, body["object"], body["choices"][0]["finish_reason"]) == (200, "text_completion", "length")
    streamed = events(vllm.request("/v1/completions", parameters | {"stream": True}))[:-1]
    assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == body["choices"][0]["text"]


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        # the request, the response, and the words that LiteLLM searches in the message
        (chat(model="n"), 404, "NotFoundError", "The model `n` does not exist."),
        (chat("x" * 1601), 400, "BadRequestError", "This model's maximum context length is 200 tokens"),
        (
            chat(max_tokens=201),
            400,
            "BadRequestError",
            "max_tokens=201 cannot be greater than max_model_len=200",
        ),
        (
            chat(max_completion_tokens=201),
            400,
            "BadRequestError",
            "max_completion_tokens=201 cannot be greater",
        ),
        (chat(max_tokens=0), 400, "BadRequestError", "max_tokens must be at least 1, got 0"),
        ({"model": "m"}, 400, "BadRequestError", "'messages' must be a list"),
        (b"{", 400, "BadRequestError", "not JSON"),
    ],
)
def test_invalid_requests_are_refused_with_vllms_messages(
    vllm: Running, body: dict[str, Any] | bytes, status: int, kind: str, words: str
) -> None:
    got, answer = vllm.request_json("/v1/chat/completions", body)
    assert (got, answer["error"]["type"], answer["error"]["code"]) == (status, kind, status)
    assert words in answer["error"]["message"]


def test_every_alias_is_served_and_answers_carry_the_first_name(vllm: Running) -> None:
    assert vllm.request_json("/v1/chat/completions", chat(model="alias", max_tokens=1))[1]["model"] == "m"
    assert [model["id"] for model in vllm.request_json("/v1/models")[1]["data"]] == ["m", "alias"]


def test_health_is_200_and_empty_and_an_unknown_path_404(vllm: Running) -> None:
    response = vllm.request("/health")
    assert (response.status, response.read()) == (200, b"")
    assert vllm.request_json("/nowhere") == (404, {"detail": "Not Found"})


def test_one_connection_carries_many_requests(vllm: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", vllm.port, timeout=DEADLINE_S)
    connection.request("HEAD", "/v1/models")
    assert connection.getresponse().read() == b""
    for stream in (True, False, True):
        connection.request("POST", "/v1/chat/completions", json.dumps(chat(stream=stream, max_tokens=2)))
        local = connection.sock.getsockname()
        connection.getresponse().read()
        assert connection.sock.getsockname() == local


def test_metrics_count_what_was_answered(tmp_path: Path) -> None:
    with running("vllm", tmp_path, *QUICK, "--natural-length", "4") as engine:
        for cap in (3, 9):
            engine.request_json("/v1/chat/completions", chat(max_tokens=cap))
        page = engine.request("/metrics").read().decode()
    metrics = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    labels = 'engine="0",model_name="m"'
    assert metrics[f"vllm:num_requests_running{{{labels}}}"] == "0"
    assert metrics[f"vllm:generation_tokens_total{{{labels}}}"] == "7"
    assert metrics[f"vllm:prompt_tokens_total{{{labels}}}"] == "14"
    assert metrics[f'vllm:request_success_total{{{labels},finished_reason="length"}}'] == "1"
    assert metrics[f'vllm:request_success_total{{{labels},finished_reason="stop"}}'] == "1"
    assert metrics[f'vllm:time_to_first_token_seconds_bucket{{le="+Inf",{labels}}}'] == "2"
    assert metrics[f"vllm:inter_token_latency_seconds_count{{{labels}}}"] == "5"


def test_identical_requests_get_identical_answers_with_the_same_seed_only(tmp_path: Path) -> None:
    texts = []
    for seed in ("7", "7", "8"):
        with running("vllm", tmp_path, *QUICK, "--seed", seed) as engine:
            texts.append(
                engine.request_json("/v1/chat/completions", chat(max_tokens=20))[1]["choices"][0]["message"]
            )
    assert texts[0] == texts[1] != texts[2]


def test_nothing_listens_while_the_model_loads(tmp_path: Path) -> None:
    with running("vllm", tmp_path, "--startup-duration", "10m", listening=False) as engine:
        # The engine opens the ledger just before it starts to load.
        until(engine.ledger_path.exists)
        assert not engine.accepts()
        assert engine.process.poll() is None


def test_the_pidfile_is_written_before_the_engine_listens_and_stays_after_its_end(tmp_path: Path) -> None:
    pidfile = tmp_path / "engine.pid"
    pidfile.write_text("1\n")  # of an earlier engine
    with running(
        "vllm", tmp_path, "--pidfile", str(pidfile), "--startup-duration", "10m", listening=False
    ) as engine:
        until(lambda: pidfile.read_text() == f"{engine.process.pid}\n")
        assert not engine.accepts()
        engine.process.terminate()
        engine.process.wait()
    assert pidfile.read_text() == f"{engine.process.pid}\n"
    assert [file.name for file in tmp_path.iterdir() if "pid" in file.name] == ["engine.pid"]


def test_replicas_share_a_port_and_a_ledger_and_one_may_die(tmp_path: Path) -> None:
    with (
        running("vllm", tmp_path, *QUICK) as one,
        running("vllm", tmp_path, *QUICK, port=one.port) as two,
    ):
        pids = {one.process.pid, two.process.pid}

        def both_got_requests() -> bool:
            one.request_json("/v1/chat/completions", chat(max_tokens=1))
            return {entry.pid for entry in one.entries()} == pids

        until(both_got_requests)
        one.process.kill()
        one.process.wait()
        assert two.request_json("/v1/chat/completions", chat(max_tokens=1))[0] == 200
        assert {entry["pid"] for entry in two.request_json("/ledger")[1]} == pids
