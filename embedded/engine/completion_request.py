"""A completion request, parsed from the bodies of the three APIs. Pure: a body in, a CompletionRequest or BadRequest out."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from contract.tokens import approximate

KEEP_ALIVE = re.compile(r"(-?\d+(?:\.\d+)?)(ms|s|m|h)")
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
NONCE = re.compile(r"\breq-[0-9a-z]+(?:-[0-9a-z]+)*\b")

# LiteLLM's `ollama/` renders a conversation into one prompt, with this before each user message.
USER_MARK = "### User:\n"

# Tokens of an answer that neither the model nor a cap ends.
LONG_ENOUGH = 4096


class BadRequest(Exception):
    """The body is invalid; `message` states the correct form, `param` names the parameter."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    model: str
    prompt: str
    nonce: str | None
    stream: bool
    max_tokens: int | None
    ignore_eos: bool
    include_usage: bool
    prompt_tokens: int
    given: frozenset[str]
    """The names of all parameters in the body, known or not."""
    temperature: float | None
    user_text: str
    """The last user message."""
    keep_alive_s: float | None = None
    """Ollama: seconds that the model stays loaded after this request; below 0: forever. None: the engine's default."""

    def end(self, natural_length: int | None, room: int) -> tuple[int, str]:
        """(number of tokens of the answer, finish reason); `room`: tokens left in the context."""
        cap = room if self.max_tokens is None else min(self.max_tokens, room)
        if self.ignore_eos:
            return cap, "length"
        if natural_length is None:
            natural_length = LONG_ENOUGH if self.max_tokens is None else cap
        # Stopping takes one more token, which does not fit when the cap is reached exactly.
        return (natural_length, "stop") if natural_length < cap else (cap, "length")


Reader = Callable[[Mapping[str, Any]], CompletionRequest]


def find_nonce(text: str) -> str | None:
    found = NONCE.search(text)
    return found.group() if found else None


def read_chat(body: Mapping[str, Any]) -> CompletionRequest:
    """OpenAI's /v1/chat/completions."""
    cap_name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return _completion(
        body, _texts(body), _openai_cap(body, cap_name), ignore_eos=_flag(body, "ignore_eos", False)
    )


def read_completion(body: Mapping[str, Any]) -> CompletionRequest:
    """OpenAI's older /v1/completions, one prompt; max_tokens is 16 if not given."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise BadRequest("'prompt' must be a string.", "prompt")
    cap = 16 if body.get("max_tokens") is None else _openai_cap(body, "max_tokens")
    return _completion(body, [("user", prompt)], cap, ignore_eos=_flag(body, "ignore_eos", False))


def read_ollama_generate(body: Mapping[str, Any]) -> CompletionRequest:
    """Ollama's /api/generate: one prompt; streamed by default."""
    prompt = body.get("prompt", "")
    if not isinstance(prompt, str):
        raise BadRequest("'prompt' must be a string", "prompt")
    # Of a rendered conversation, only the last user message carries this request's nonce.
    earlier, mark, last = prompt.rpartition(USER_MARK)
    completion = _completion(
        body, [("earlier", earlier + mark), ("user", last)], _ollama_cap(body), stream_default=True
    )
    return replace(completion, keep_alive_s=_keep_alive(body))


def read_ollama_chat(body: Mapping[str, Any]) -> CompletionRequest:
    """Ollama's /api/chat; streamed by default."""
    completion = _completion(body, _texts(body), _ollama_cap(body), stream_default=True)
    return replace(completion, keep_alive_s=_keep_alive(body))


def _completion(
    body: Mapping[str, Any],
    texts: list[tuple[str, str]],
    max_tokens: int | None,
    ignore_eos: bool = False,
    stream_default: bool = False,
) -> CompletionRequest:
    model = body.get("model")
    if not isinstance(model, str):
        raise BadRequest("'model' must be a string.", "model")
    options = body.get("stream_options") or {}
    if not isinstance(options, Mapping):
        raise BadRequest("'stream_options' must be an object.", "stream_options")
    user_texts = [text for role, text in texts if role == "user"]
    prompt = "\n".join(text for _, text in texts)
    return CompletionRequest(
        model=model,
        prompt=prompt,
        nonce=find_nonce(user_texts[-1]) if user_texts else None,
        stream=_flag(body, "stream", stream_default),
        max_tokens=max_tokens,
        ignore_eos=ignore_eos,
        include_usage=_flag(options, "include_usage", False),
        prompt_tokens=approximate(prompt),
        given=frozenset(body),
        temperature=_number(body, "temperature"),
        user_text=user_texts[-1] if user_texts else "",
    )


def _texts(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(role, text) of each message."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a list of at least one message.", "messages")
    return [_text(message, at) for at, message in enumerate(messages)]


def _text(message: Any, at: int) -> tuple[str, str]:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise BadRequest("a message must be an object with a 'role'.", f"messages[{at}]")
    content = message.get("content")
    if isinstance(content, list):
        # The parts of a message; parts that are not text (an image) are ignored.
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    if content is not None and not isinstance(content, str):
        raise BadRequest("'content' must be a string or a list of parts.", f"messages[{at}].content")
    return message["role"], content or ""


def _openai_cap(body: Mapping[str, Any], name: str) -> int | None:
    cap = body.get(name)
    if cap is not None and (not _whole(cap) or cap < 1):
        raise BadRequest(f"{name} must be at least 1, got {cap}.", name)
    return cap


def _ollama_cap(body: Mapping[str, Any]) -> int | None:
    options = body.get("options") or {}
    if not isinstance(options, Mapping):
        raise BadRequest("'options' must be an object", "options")
    cap = options.get("num_predict")
    if cap is not None and not _whole(cap):
        raise BadRequest("'num_predict' must be a whole number", "num_predict")
    # Ollama reads anything below 1 (-1, -2) as no cap.
    return cap if cap is not None and cap >= 1 else None


def _keep_alive(body: Mapping[str, Any]) -> float | None:
    """Ollama's `keep_alive`: seconds, or a Go duration (here with one unit); below 0: forever."""
    value = body.get("keep_alive")
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = KEEP_ALIVE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadRequest("'keep_alive' must be a number of seconds, or a duration as in 5m", "keep_alive")
    return float(found[1]) * UNITS_S[found[2]]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(body: Mapping[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadRequest(f"'{name}' must be a number.", name)
    return None if value is None else float(value)


def _flag(body: Mapping[str, Any], name: str, default: bool) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRequest(f"'{name}' must be true or false.", name)
    return value
