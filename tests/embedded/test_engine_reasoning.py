"""Simulated reasoning models: their thoughts in each API, their usage counts, and what newer models refuse."""

import json
from pathlib import Path

import pytest

from contract.document import read
from tests.embedded.engine import HOUSE, QUICK, chat, events, running

PATH = "/v1/chat/completions"
KEY = {"authorization": "Bearer k"}
USAGE = {"stream_options": {"include_usage": True}}


def deltas(engine, cap: int) -> tuple[list[dict], str, dict]:
    """(the deltas with content, the finish reason, the usage)."""
    *chunks, usage, done = events(engine.request(PATH, chat(stream=True, max_tokens=cap, **USAGE), **KEY))
    assert done == "[DONE]"
    choices = [chunk["choices"][0] for chunk in chunks]
    found = [{k: v for k, v in c["delta"].items() if v and k != "role"} for c in choices]
    return [delta for delta in found if delta], choices[-1]["finish_reason"], usage["usage"]


@pytest.mark.parametrize(
    ("personality", "field"),
    [
        ("vllm", "reasoning"),
        ("ollama", "reasoning"),
        ("cloud", "reasoning_content"),
        ("cloud", "reasoning_details"),
        ("cloud", "thinking_blocks"),
        ("cloud", "refusal"),
    ],
)
def test_thoughts_come_before_the_content_in_a_separate_field(
    personality: str, field: str, tmp_path: Path
) -> None:
    with running(personality, tmp_path, *QUICK, "--reasoning", field, "--reasoning-tokens", "3") as engine:
        found, reason, usage = deltas(engine, 5)
        assert [next(iter(delta)) for delta in found] == [field] * 3 + ["content"] * 2
        assert (reason, usage["completion_tokens"]) == ("length", 5)
        assert usage["completion_tokens_details"] == {"reasoning_tokens": 3}
        _, body = engine.request_json(PATH, chat(max_tokens=2), **KEY)
        message = body["choices"][0]["message"]
        assert (message["content"], bool(message[field])) == (None, True)
        assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


@pytest.mark.parametrize("personality", ["vllm", "ollama", "cloud"])
def test_hidden_thoughts_are_counted_and_nothing_is_shown(personality: str, tmp_path: Path) -> None:
    with running(personality, tmp_path, *QUICK, "--reasoning", "hidden", "--reasoning-tokens", "3") as engine:
        assert deltas(engine, 1)[:2] == ([], "length")
        found, reason, usage = deltas(engine, 4)
        assert ([list(delta) for delta in found], reason, usage["completion_tokens"]) == (
            [["content"]],
            "length",
            4,
        )
        _, body = engine.request_json(PATH, chat(max_tokens=1), **KEY)
        assert body["choices"][0]["message"] == {"role": "assistant", "content": ""}
        assert (body["choices"][0]["finish_reason"], body["usage"]["completion_tokens"]) == ("length", 1)
        entry = engine.ended(3)[0]
        assert (entry.how, entry.output_tokens, entry.chunks) == ("length", 1, [])


@pytest.mark.parametrize(("path", "place"), [("/api/chat", "message"), ("/api/generate", "response")])
@pytest.mark.parametrize("hidden", [False, True])
def test_ollamas_own_api_uses_thinking(path: str, place: str, hidden: bool, tmp_path: Path) -> None:
    kind = "hidden" if hidden else "reasoning"
    with running("ollama", tmp_path, *QUICK, "--reasoning", kind, "--reasoning-tokens", "3") as engine:
        given = {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "prompt": "hi",
            "options": {"num_predict": 1},
        }
        response = engine.request(path, given)
        lines = [json.loads(line) for line in response.read().splitlines()]
        parts = [line[place] if place == "message" else line for line in lines]
        assert [bool(part.get("thinking")) for part in parts] == ([False] if hidden else [True, False])
        assert not any(part.get("content") or part.get("response") for part in parts)
        assert (lines[-1]["done_reason"], lines[-1]["eval_count"]) == ("length", 1)
        _, plain = engine.request_json(path, given | {"stream": False})
        part = plain[place] if place == "message" else plain
        assert bool(part.get("thinking")) is not hidden


def test_a_document_is_classified_after_the_thoughts(tmp_path: Path) -> None:
    folder = HOUSE / "scenarios" / "documents"
    with running("vllm", tmp_path, *QUICK, "--documents", str(folder), "--reasoning", "hidden") as engine:
        _, answer = engine.request_json(PATH, chat(f"req-1-1 {read(folder)[0].text}"))
        json.loads(answer["choices"][0]["message"]["content"])
        assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 16}


NEWER = ("--unsupported-parameters", "max_tokens,temperature", "--least-output-tokens", "8")
REFUSED = [
    # parameters; the error's message, param and code, as from OpenAI
    ({"max_tokens": 20}, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
     "instead.", "max_tokens", "unsupported_parameter"),
    ({"max_completion_tokens": 20, "temperature": 0.3}, "Unsupported value: 'temperature' does not support 0.3 with this "
     "model. Only the default (1) value is supported.", "temperature", "unsupported_value"),
    ({"max_completion_tokens": 1}, "Could not finish the message because max_tokens or model output limit was reached. Please "
     "try again with higher max_tokens.", None, None),
]  # fmt: skip


def test_a_newer_model_refuses_what_openais_refuse(tmp_path: Path) -> None:
    with running("cloud", tmp_path, *QUICK, *NEWER) as engine:
        for parameters, message, param, code in REFUSED:
            status, body = engine.request_json(PATH, chat() | parameters, **KEY)
            error = body["error"]
            assert (status, error["message"], error["param"], error["code"]) == (400, message, param, code)
        for parameters in ({"max_completion_tokens": 20}, {"max_completion_tokens": 20, "temperature": 1}):
            assert engine.request_json(PATH, chat() | parameters, **KEY)[0] == 200
