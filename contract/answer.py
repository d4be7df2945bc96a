"""What one JSON object of an answer says: tokens, end, usage, an error in band. Pure.

OpenAI's chunks and plain answers, and the lines of Ollama's own API.
"""

import json
from dataclasses import dataclass, field
from typing import Any

_ERROR_LENGTH = 300  # characters of an error that a record keeps
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
_TOKEN_KEYS = ("content", "refusal", "tool_calls", *_THOUGHT_KEYS)
"""What a model made: its content, a refusal in place of it, or its thoughts. vLLM and Ollama say reasoning, DeepSeek and
llama.cpp reasoning_content, OpenRouter reasoning_details, Anthropic's models through LiteLLM thinking_blocks."""


@dataclass(slots=True)
class Answer:
    """What was found in a body."""

    content_at: list[float] = field(default_factory=list)  # instants of the chunks with content
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    thought_tokens: int | None = None  # of them those that the usage calls reasoning
    thinks: bool = False  # a thought was shown
    in_band_error: str | None = None
    done: bool = False  # `data: [DONE]`, or Ollama's last line
    senseless: str | None = None  # a part that no JSON reader takes
    text: list[str] | None = None  # the content itself, where somebody asks for it; never recorded


def take(data: bytes, at: float, answer: Answer) -> None:
    """Add what a chunk, or a plain answer, says; it was whole at the instant `at`."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        answer.senseless = answer.senseless or f"not a JSON object: {len(data)} bytes"
        return
    if found.get("error"):
        error = found["error"]
        message = error.get("message") if isinstance(error, dict) else error
        answer.in_band_error = answer.in_band_error or told(message)
    if "done" in found:
        _take_ollama(found, at, answer)
        return
    usage = found.get("usage")
    if isinstance(usage, dict):
        answer.prompt_tokens = _tokens(usage.get("prompt_tokens"), answer.prompt_tokens)
        answer.output_tokens = _tokens(usage.get("completion_tokens"), answer.output_tokens)
        details = usage.get("completion_tokens_details")
        if isinstance(details, dict):
            answer.thought_tokens = _tokens(details.get("reasoning_tokens"), answer.thought_tokens)
    choices = found.get("choices") or []
    for choice in choices if isinstance(choices, list) else [choices]:
        _take_choice(choice, at, answer)


def told(words: object) -> str:
    """A server's words as a record can hold them: JSON can spell characters that UTF-8 cannot."""
    return str(words)[:_ERROR_LENGTH].encode("utf-8", "replace").decode()


def _take_choice(choice: object, at: float, answer: Answer) -> None:
    part: Any = (choice.get("delta") or choice.get("message") or {}) if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(part, dict):
        answer.senseless = answer.senseless or "choices that are none"
        return
    _take_part(part, at, answer)
    reason = choice.get("finish_reason")
    answer.finish_reason = told(reason) if reason else answer.finish_reason


def _take_ollama(line: dict[str, Any], at: float, answer: Answer) -> None:
    """A line of /api/chat, whose part is `message`, or of /api/generate, which says its text as `response`."""
    part = line.get("message") or {"content": line.get("response"), "thinking": line.get("thinking")}
    if not isinstance(part, dict):
        answer.senseless = answer.senseless or "a message that is none"
        return
    _take_part(part, at, answer)
    if line["done"] is True:
        answer.done = True
        answer.finish_reason = told(line.get("done_reason") or "stop")  # old servers give no reason
        answer.prompt_tokens = _tokens(line.get("prompt_eval_count"), answer.prompt_tokens)
        answer.output_tokens = _tokens(line.get("eval_count"), answer.output_tokens)


def _take_part(part: dict[str, Any], at: float, answer: Answer) -> None:
    # An empty role delta is not a token. LiteLLM keeps what it does not know of a plain message in a place of its own.
    more = part.get("provider_specific_fields")
    places = (part, more) if isinstance(more, dict) else (part,)
    answer.thinks = answer.thinks or any(place.get(key) for place in places for key in _THOUGHT_KEYS)
    if any(place.get(key) for place in places for key in _TOKEN_KEYS):
        answer.content_at.append(at)
    if answer.text is not None and isinstance(part.get("content"), str):
        answer.text.append(part["content"])


def _tokens(count: object, before: int | None) -> int | None:
    return count if type(count) is int and 0 <= count < 2**31 else before
