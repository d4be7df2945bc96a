"""What one JSON object of an answer says: tokens, end, usage, an error in band. Pure."""

import json
from dataclasses import dataclass, field
from typing import Any

_ERROR_LENGTH = 300  # characters of an error that a record keeps
_TOKEN_KEYS = ("content", "reasoning_content", "reasoning", "tool_calls")


@dataclass(slots=True)
class Answer:
    """What was found in a body."""

    content_at: list[float] = field(default_factory=list)  # instants of the chunks with content
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    in_band_error: str | None = None
    done: bool = False  # `data: [DONE]`
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
    usage = found.get("usage")
    if isinstance(usage, dict):
        answer.prompt_tokens = _tokens(usage.get("prompt_tokens"), answer.prompt_tokens)
        answer.output_tokens = _tokens(usage.get("completion_tokens"), answer.output_tokens)
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
    # An empty role delta is not a token.
    if any(part.get(key) for key in _TOKEN_KEYS):
        answer.content_at.append(at)
    if answer.text is not None and isinstance(part.get("content"), str):
        answer.text.append(part["content"])
    reason = choice.get("finish_reason")
    answer.finish_reason = told(reason) if reason else answer.finish_reason


def _tokens(count: object, before: int | None) -> int | None:
    return count if type(count) is int and 0 <= count < 2**31 else before
