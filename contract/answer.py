"""Reads one JSON object of an answer: tokens, thoughts, end, usage, an in-band error. Pure.

OpenAI's chunks and plain answers, and the lines of Ollama's own API.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from contract import printable, thoughts
from contract.foreign import without

LONGEST_JSON = 4 * 2**20
"""Bytes of one JSON text: as objects it takes up to thirty times its size."""
_ERROR_LENGTH = 300  # characters of an error that a record keeps
_READ_LENGTH = 4096  # characters of it that are searched for secrets, which may be long
_CONTENT_KEYS = ("content", "tool_calls", "refusal")
_THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
"""vLLM and Ollama use reasoning, DeepSeek and llama.cpp reasoning_content, OpenRouter reasoning_details, Anthropic's models
through LiteLLM thinking_blocks."""
NO_MESSAGE = "an error without a message"
_NO_ERROR = (200, "0", "200", "success", "ok")  # codes
_MESSAGE_KEYS = (
    "message",
    "detail",
    "msg",
    "error_msg",
)  # keys of an error that hold its message, if `error` does not


@dataclass(slots=True)
class Answer:
    """What was found in a body."""

    content_at: list[float] = field(default_factory=list)  # instants of the chunks with content
    thought_at: list[float] = field(default_factory=list)  # of those with thoughts, and no content
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    in_band_error: str | None = None
    done: bool = False  # `data: [DONE]`, or Ollama's last line
    senseless: str | None = None  # a part that is not valid JSON
    thinking: bool = False  # thoughts in the content began and did not end
    # The content itself, if requested: one text for each of `content_at`. Never recorded.
    text: list[str] | None = None

    @property
    def token_at(self) -> list[float]:
        """Instants of the chunks with tokens of either kind, in order."""
        return sorted(self.thought_at + self.content_at) if self.thought_at else self.content_at

    def set_thoughts_aside(self) -> None:
        """Moves leading thoughts out of the content. A chunk that has the end of both counts as content."""
        assert self.text is not None, "the content has been kept"
        whole = "".join(self.text)
        found = thoughts.leading(whole)
        self.thinking = not found.over
        if not found.length:
            return
        passed = chunks = 0
        for text in self.text:
            passed += len(text)
            if passed > found.length or (not text and passed == found.length):  # a tool call has no text
                break
            chunks += 1
        self.thought_at += self.content_at[:chunks]
        self.content_at = self.content_at[chunks:]
        self.text = self.text[chunks:]
        if self.text:
            self.text[0] = self.text[0][len(self.text[0]) - (passed - found.length) :]


def take(data: bytes, at: float, answer: Answer, error: bool = False) -> None:
    """Add one JSON object, a chunk or a plain answer, complete at the instant `at`. Anything else is senseless.

    A list counts as its items (Gemini wraps its errors so). `error`: the event was named `error`.
    """
    found = _json(data)
    objects = found if isinstance(found, list) else [found]
    if not objects or not all(isinstance(one, dict) for one in objects):
        answer.senseless = answer.senseless or f"not a JSON object: {len(data)} bytes"
        return
    for one in objects:
        _take_object(one, at, answer, error)


def take_event(data: bytes, at: float, answer: Answer, error: bool = False) -> None:
    """Add the data of one server-sent event, or one line of a stream.

    A JSON object is a chunk. Any other JSON value (`null`, `""`, `[]`, a number) and plain words (`ping`) are keep-alives:
    neither token nor error. Data that has a brace and is not JSON is a broken chunk, an error. So is any data of an event
    named `error`.
    """
    if not error and b"{" not in data and b"}" not in data:
        return  # a keep-alive: parsing it would take most of the time of a body of short lines
    found = _json(data)
    if isinstance(found, dict) or (isinstance(found, list) and any(isinstance(one, dict) for one in found)):
        for one in found if isinstance(found, list) else [found]:
            if isinstance(one, dict):
                _take_object(one, at, answer, error)
    elif found is _NO_JSON and (b"{" in data or b"}" in data):
        answer.senseless = answer.senseless or f"not a JSON object: {len(data)} bytes"
    elif error:
        words = found if isinstance(found, str) else data.decode("utf-8", "replace")
        answer.in_band_error = answer.in_band_error or recordable(words or NO_MESSAGE)


def is_object(data: bytes) -> bool:
    return isinstance(_json(data), dict)


def is_json(data: bytes) -> bool:
    return _json(data) is not _NO_JSON


_NO_JSON = object()


def _json(data: bytes) -> Any:
    if len(data) > LONGEST_JSON:
        return _NO_JSON
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return _NO_JSON


def _take_object(found: dict[str, Any], at: float, answer: Answer, named_error: bool) -> None:
    error = error_of(found)
    if error is None and named_error:
        error = recordable(_message_in(found))
    answer.in_band_error = answer.in_band_error or error
    if (
        "done" in found and "choices" not in found
    ):  # with choices it is an OpenAI chunk, whatever its other keys
        _take_ollama(found, at, answer)
        return
    usage = found.get("usage")
    if isinstance(usage, dict):
        answer.prompt_tokens = _tokens(usage.get("prompt_tokens"), answer.prompt_tokens)
        answer.output_tokens = _tokens(usage.get("completion_tokens"), answer.output_tokens)
    choices = found.get("choices") or []
    for choice in choices if isinstance(choices, list) else [choices]:
        _take_choice(choice, at, answer)


def error_of(found: dict[str, Any]) -> str | None:
    """The message of an object that is an error; None: it is not an error.

    Recognised: `error` (OpenAI, Ollama, TGI); `object` or `type` "error" (old vLLM); without an answer beside it, `detail`
    (FastAPI), or an error code with a message (DashScope, Baidu).
    """
    error = found.get("error")
    if error:
        return recordable(_message_in(error) if isinstance(error, dict) else error)
    if "error" in (found.get("object"), found.get("type")):
        return recordable(_message_in(found))
    if "choices" in found or "done" in found:
        return None
    code = found.get("code") or found.get("error_code")
    return recordable(_message_in(found)) if found.get("detail") or (code and code not in _NO_ERROR) else None


def rejection_of(body: bytes) -> str | None:
    """The message of an error body, without the prompt that some servers echo beside it; None: it has no message."""
    found = _json(body)
    found = found[0] if isinstance(found, list) and found else found
    if not isinstance(found, dict):
        return None
    error = error_of(found)
    return error if error is not None else recordable(_message_in(found, "")) or None


def _message_in(error: dict[str, Any], otherwise: str = NO_MESSAGE) -> str:
    """The message of an error. A list is FastAPI's; its entries also hold the input, so only their `msg` is taken."""
    for name in _MESSAGE_KEYS:
        words = error.get(name)
        if isinstance(words, list):
            words = "; ".join(str(one["msg"]) for one in words if isinstance(one, dict) and one.get("msg"))
        if words and isinstance(words, str):
            return words
    known = [
        str(error[name]) for name in ("type", "code", "status") if isinstance(error.get(name), str | int)
    ]
    return " ".join(known) if known and otherwise else otherwise


def recordable(text: object) -> str:
    """A server's text without our secrets, as one short line that a record can hold and a terminal can show."""
    kept = without((), str(text)[:_READ_LENGTH])[:_ERROR_LENGTH]
    return printable.line(kept.encode("utf-8", "replace").decode())


def _take_choice(choice: object, at: float, answer: Answer) -> None:
    part: Any = (choice.get("delta") or choice.get("message") or {}) if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(part, dict):
        answer.senseless = answer.senseless or "choices that are not objects"
        return
    _take_part(part, at, answer)
    reason = choice.get("finish_reason")
    answer.finish_reason = recordable(reason) if reason else answer.finish_reason


def _take_ollama(line: dict[str, Any], at: float, answer: Answer) -> None:
    """A line of /api/chat, whose part is `message`, or of /api/generate, whose text is `response`."""
    part = line.get("message") or {"content": line.get("response"), "thinking": line.get("thinking")}
    if not isinstance(part, dict):
        answer.senseless = answer.senseless or "a message that is not an object"
        return
    _take_part(part, at, answer)
    if line["done"] is True:
        answer.done = True
        answer.finish_reason = recordable(line.get("done_reason") or "stop")  # old servers give no reason
        answer.prompt_tokens = _tokens(line.get("prompt_eval_count"), answer.prompt_tokens)
        answer.output_tokens = _tokens(line.get("eval_count"), answer.output_tokens)


def _take_part(part: dict[str, Any], at: float, answer: Answer) -> None:
    """An empty role delta is not a token. A chunk with content and thoughts counts as content. LiteLLM puts the fields of a
    plain message that it does not know into `provider_specific_fields`."""
    content, more = part.get("content"), part.get("provider_specific_fields")
    places = (part, more) if isinstance(more, dict) else (part,)
    if isinstance(content, list):
        text, thought = _parts(content)
        has_content = bool(text)
    else:
        text, thought = content if isinstance(content, str) else "", False
        has_content = bool(content)
    if has_content or any(place.get(key) for place in places for key in _CONTENT_KEYS[1:]):
        answer.content_at.append(at)
        if answer.text is not None:
            answer.text.append(text)
    elif thought or any(place.get(key) for place in places for key in _THOUGHT_KEYS):
        answer.thought_at.append(at)


def _parts(content: list[Any]) -> tuple[str, bool]:
    """The text of a content in parts (`[{"type": "text", "text": …}]`), and whether thoughts are among them (Mistral)."""
    text, thought = "", False
    for one in content:
        if isinstance(one, str):
            text += one
        elif isinstance(one, dict):
            if one.get("thinking") or one.get("reasoning") or one.get("type") in ("thinking", "reasoning"):
                thought = True
            elif isinstance(one.get("text"), str):
                text += one["text"]
    return text, thought


def _tokens(count: object, before: int | None) -> int | None:
    return count if type(count) is int and 0 <= count < 2**31 else before
