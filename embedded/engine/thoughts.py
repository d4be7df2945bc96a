"""How the thoughts of a reasoning model are spelled in OpenAI's answers: one field for each server that is known."""

from collections.abc import Callable, Mapping
from typing import Any

HIDDEN = "hidden"
"""Nothing is shown, and the usage counts them: OpenAI's reasoning models, and a parser that swallows its first tokens."""


def _details(text: str) -> list[dict[str, Any]]:
    return [{"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}]


def _blocks(text: str) -> list[dict[str, Any]]:
    return [{"type": "thinking", "thinking": text, "signature": ""}]


_SPELT: Mapping[str, Callable[[str], object]] = {
    "reasoning": str,  # vLLM since 0.11, Ollama's /v1
    "reasoning_content": str,  # DeepSeek, llama.cpp, LiteLLM
    "reasoning_details": _details,  # OpenRouter
    "thinking_blocks": _blocks,  # Anthropic's models, as LiteLLM shows them
    "refusal": str,  # a model that declines says so in a field of its own
}
SPELLINGS = (*_SPELT, HIDDEN)


def spelt(field: str, text: str) -> dict[str, object]:
    """The part of a delta, or of a message, that carries this thought; empty where it is hidden."""
    return {} if field == HIDDEN else {field: _SPELT[field](text)}
