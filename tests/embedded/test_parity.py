"""The simulated engines against a real one, where they have the same API: a client must read the same structure.

Each personality is compared with the output of a real llama.cpp; the rows state the differences of vLLM and the cloud.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.embedded.engine import QUICK, Running, chat, events, running
from tests.embedded.llamacpp import llama

PATH = "/v1/chat/completions"
KEY = {"authorization": "Bearer k"}
PERSONALITIES = ("vllm", "ollama", "cloud")


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    with ExitStack() as open_:
        found: dict[str, Running] = {
            "llamacpp": open_.enter_context(llama("--slots", "1", "--context", "512"))
        }
        for name in PERSONALITIES:
            folder: Path = tmp_path_factory.mktemp(name)
            found[name] = open_.enter_context(running(name, folder, *QUICK, "--max-model-len", "512"))
        yield found


def stream(engine: Running, **more: Any) -> tuple[Any, list[Any]]:
    response = engine.request(PATH, chat(stream=True, max_tokens=4, **more), **KEY)
    return response, events(response)


def parts(chunk: dict[str, Any]) -> list[str]:
    """The parts of a chunk: vLLM's last token comes with the finish reason, llama.cpp sends a chunk after it. A role delta
    without content is not part of the answer, and some send none."""
    if not chunk["choices"]:
        return ["usage"]
    (choice,) = chunk["choices"]
    token = ["token"] if choice["delta"].get("content") else []
    return token + ([f"end: {choice['finish_reason']}"] if choice["finish_reason"] else [])


def outline(chunks: list[Any]) -> list[str]:
    """The parts in order."""
    *whole, done = chunks
    return [p for chunk in whole for p in parts(chunk)] + [done]


@pytest.mark.parametrize("name", PERSONALITIES)
@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_has_the_same_parts_in_the_same_order(engines, name, usage):
    given = {"stream_options": {"include_usage": True}} if usage else {}
    real, simulated = (outline(stream(engines[n], **given)[1]) for n in ("llamacpp", name))
    assert simulated == real
    assert real == ["token"] * 4 + ["end: length"] + ["usage"] * usage + ["[DONE]"]


@pytest.mark.parametrize("name", ["vllm", "ollama"])
def test_a_role_delta_comes_first_and_holds_no_token(engines, name):
    """Ollama sends the role with each token, the cloud with the first."""
    for n in ("llamacpp", name):
        first = stream(engines[n])[1][0]["choices"][0]
        assert first["delta"]["role"] == "assistant"
        assert bool(first["delta"]["content"]) == (n == "ollama")


@pytest.mark.parametrize("name", PERSONALITIES)
def test_a_chunk_has_the_keys_of_a_real_one_and_all_share_its_id(engines, name):
    for n in ("llamacpp", name):
        response, (*chunks, _) = stream(engines[n], stream_options={"include_usage": True})
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in response.headers
        assert len({c["id"] for c in chunks}) == 1
        assert chunks[0]["id"].startswith("chatcmpl-")
        for chunk in chunks:
            assert {"id", "object", "created", "model", "choices"} <= chunk.keys()
            assert (chunk["object"], chunk["model"]) == ("chat.completion.chunk", "m")
            assert isinstance(chunk["created"], int)
            for choice in chunk["choices"]:
                assert {"index", "delta", "finish_reason"} <= choice.keys()
                assert choice["index"] == 0
        assert [c for c in chunks if c.get("usage")] == chunks[-1:]


@pytest.mark.parametrize("name", PERSONALITIES)
def test_a_plain_answer_has_the_keys_of_a_real_one(engines, name):
    for n in ("llamacpp", name):
        response = engines[n].request(PATH, chat(max_tokens=4), **KEY)
        body = json.loads(response.read())
        assert response.status == 200
        assert response.headers["content-type"].startswith("application/json")
        assert {"id", "object", "created", "model", "choices", "usage"} <= body.keys()
        assert (body["object"], body["model"]) == ("chat.completion", "m")
        (choice,) = body["choices"]
        assert (choice["index"], choice["finish_reason"]) == (0, "length")
        assert choice["message"]["role"] == "assistant"
        assert len(choice["message"]["content"].split()) == 4
        usage = body["usage"]
        assert usage["completion_tokens"] == 4
        assert usage["total_tokens"] == usage["prompt_tokens"] + 4


@pytest.mark.parametrize("name", PERSONALITIES)
@pytest.mark.parametrize("given", ["{", {"model": "m"}, "too long"])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_invalid_request_is_a_400_with_the_message_in_the_same_place(engines, name, given, streamed):
    if given == "too long" and name == "ollama":
        pytest.skip("Ollama cuts a prompt that is too long")
    body: Any = given.encode() if given == "{" else chat("through " * 3000) if given == "too long" else given
    if isinstance(body, dict):
        body = body | {"stream": streamed}
    for n in ("llamacpp", name):
        response = engines[n].request(PATH, body, **KEY)
        assert response.status == 400
        assert response.headers["content-type"].startswith("application/json")
        error = json.loads(response.read())["error"]
        assert isinstance(error["message"], str)
        assert error["message"]
        assert isinstance(error["type"], str)
        assert "code" in error


@pytest.mark.parametrize("name", ["ollama", "cloud"])
def test_an_unknown_path_is_404_in_json(engines, name):
    """vLLM's server answers as FastAPI does: {"detail": "Not Found"}."""
    for n in ("llamacpp", name):
        status, body = engines[n].request_json("/nowhere", **KEY)
        assert status == 404
        assert body["error"]


@pytest.mark.parametrize("name", PERSONALITIES)
def test_the_models_are_listed_alike(engines, name):
    for n in ("llamacpp", name):
        status, body = engines[n].request_json("/v1/models", **KEY)
        assert (status, body["object"]) == (200, "list")
        assert [(m["id"], m["object"]) for m in body["data"]] == [("m", "model")]


@pytest.mark.parametrize("name", PERSONALITIES)
def test_a_connection_is_kept_after_a_plain_answer_and_serves_the_next(engines, name):
    """After a stream a real llama.cpp announces keep-alive and closes the connection; the simulated engines keep it."""
    for n in ("llamacpp", name):
        connection = engines[n].send(PATH, chat(max_tokens=1), **KEY)
        local = connection.sock.getsockname()
        assert connection.getresponse().read()
        connection.request("POST", PATH, json.dumps(chat(stream=True, max_tokens=1)), KEY)
        assert connection.sock.getsockname() == local
        assert connection.getresponse().read()
        connection.sock.settimeout(0.3 if n != "llamacpp" else 10.0)
        if n == "llamacpp":
            assert connection.sock.recv(1) == b""
        else:
            with pytest.raises(TimeoutError):
                connection.sock.recv(1)
