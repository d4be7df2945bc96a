"""How Ollama and the cloud differ from vLLM."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.embedded.engine import QUICK, Running, chat, events, running

KEY = "sk-right"


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("ollama", tmp_path_factory.mktemp("ollama"), *QUICK, "--natural-length", "9") as engine:
        yield engine


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("cloud")
    with running("cloud", folder, *QUICK, "--api-key-env", "ENGINE_KEY", env={"ENGINE_KEY": KEY}) as engine:
        yield engine


def native(path: str, cap: int, **more: Any) -> dict[str, Any]:
    prompt = {"prompt": "req-1-1 go on"} if path == "/api/generate" else chat()
    return {"model": "m", "options": {"num_predict": cap}} | prompt | more


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
@pytest.mark.parametrize(("cap", "tokens", "reason"), [(3, 3, "length"), (20, 9, "stop"), (-1, 9, "stop")])
def test_ollama_streams_lines_by_default_and_the_last_has_the_counts(
    ollama: Running, path: str, cap: int, tokens: int, reason: str
) -> None:
    response = ollama.request(path, native(path, cap))
    assert response.headers["content-type"] == "application/x-ndjson"
    *lines, last = [json.loads(line) for line in response.read().splitlines()]
    assert [line["done"] for line in lines] == [False] * tokens
    assert (last["done"], last["done_reason"]) == (True, reason)
    assert (last["eval_count"], last["prompt_eval_count"]) == (tokens, 7)
    assert last["total_duration"] >= last["eval_duration"] > 0

    plain = ollama.request_json(path, native(path, cap, stream=False))[1]
    texts = [_text(line) for line in lines]
    assert _text(plain) == "".join(texts)
    assert (plain["done"], plain["done_reason"], plain["eval_count"]) == (True, reason, tokens)


def _text(line: dict[str, Any]) -> str:
    return str(line["response"] if "response" in line else line["message"]["content"])


@pytest.mark.parametrize(("cap", "reason"), [(3, "length"), (20, "stop")])
def test_ollamas_openai_dialect_has_the_finish_reason(ollama: Running, cap: int, reason: str) -> None:
    assert (
        ollama.request_json("/v1/chat/completions", chat(max_tokens=cap))[1]["choices"][0]["finish_reason"]
        == reason
    )
    *_, last, done = events(ollama.request("/v1/chat/completions", chat(max_tokens=cap, stream=True)))
    assert (last["choices"][0]["finish_reason"], done) == (reason, "[DONE]")


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_ollama_does_not_know_a_model_that_it_has_not_pulled(ollama: Running, path: str) -> None:
    assert ollama.request_json(path, native(path, 1, model="n")) == (404, {"error": "model 'n' not found"})


def test_ollamas_openai_dialect_refuses_in_openais_shape(ollama: Running) -> None:
    for body, status, kind in (
        (chat(model="n"), 404, "not_found_error"),
        ({}, 400, "invalid_request_error"),
    ):
        got, answer = ollama.request_json("/v1/chat/completions", body)
        assert (got, answer["error"]["type"]) == (status, kind)


def test_ollama_lists_its_models_and_its_version(ollama: Running) -> None:
    assert [model["name"] for model in ollama.request_json("/api/tags")[1]["models"]] == ["m"]
    assert [model["id"] for model in ollama.request_json("/v1/models")[1]["data"]] == ["m"]
    assert "version" in ollama.request_json("/api/version")[1]


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({}, None, "You didn't provide an API key"),
        ({"authorization": "Bearer sk-wrong"}, "invalid_api_key", "Incorrect API key"),
        ({"authorization": KEY}, None, "You didn't provide an API key"),
    ],
)
def test_the_cloud_requires_its_key(
    cloud: Running, given: dict[str, str], code: str | None, words: str
) -> None:
    status, answer = cloud.request_json("/v1/chat/completions", chat(), **given)
    assert (status, answer["error"]["code"]) == (401, code)
    assert words in answer["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (chat(ignore_eos=True), 400, "unknown_parameter", "ignore_eos"),
        (chat(top_k=3), 400, "unknown_parameter", "top_k"),
        (chat(model="n"), 404, "model_not_found", None),
        (chat(max_tokens=128000), 400, "context_length_exceeded", "messages"),
    ],
)
def test_the_cloud_refuses_unknown_models_and_parameters(
    cloud: Running, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    got, answer = cloud.request_json("/v1/chat/completions", body, authorization=f"Bearer {KEY}")
    assert (got, answer["error"]["code"], answer["error"]["param"]) == (status, code, param)
    assert answer["error"]["type"] == "invalid_request_error"


def test_the_cloud_takes_every_parameter_of_the_api_that_a_chat_needs(cloud: Running) -> None:
    body = chat(max_completion_tokens=2, temperature=1, seed=4, user="u", stream=True, response_format=None)
    *_, last, done = events(cloud.request("/v1/chat/completions", body, authorization=f"Bearer {KEY}"))
    assert (last["choices"][0]["finish_reason"], last["choices"][0]["delta"], done) == (
        "length",
        {},
        "[DONE]",
    )


PAST_ITS_END = [("vllm", ("length", 8)), ("ollama", ("stop", 5))]


@pytest.mark.parametrize(("personality", "ignoring_eos"), PAST_ITS_END)
def test_only_vllm_continues_past_the_natural_end_with_ignore_eos(
    tmp_path: Path, personality: str, ignoring_eos: tuple[str, int]
) -> None:
    with running(personality, tmp_path, *QUICK, "--natural-length", "5") as engine:
        reasons = []
        for body in (chat(max_tokens=8), chat(max_tokens=8, ignore_eos=True), chat(max_tokens=5), chat()):
            answer = engine.request_json("/v1/chat/completions", body)[1]
            reasons.append((answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]))
    assert reasons == [("stop", 5), ignoring_eos, ("length", 5), ("stop", 5)]
