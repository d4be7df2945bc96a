"""The fields that carry a reasoning model's thoughts in OpenAI's answers, by server."""

from collections.abc import Callable, Mapping
from typing import Any

HIDDEN = "hidden"
"""Thoughts are counted in the usage only: OpenAI's reasoning models, and a parser that drops its first tokens."""


def _details(text: str) -> list[dict[str, Any]]:
    return [{"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}]


def _blocks(text: str) -> list[dict[str, Any]]:
    return [{"type": "thinking", "thinking": text, "signature": ""}]


_SPELT: Mapping[str, Callable[[str], object]] = {
    "reasoning": str,  # vLLM since 0.11, Ollama's /v1
    "reasoning_content": str,  # DeepSeek, llama.cpp, LiteLLM
    "reasoning_details": _details,  # OpenRouter
    "thinking_blocks": _blocks,  # Anthropic's models, as LiteLLM shows them
    "refusal": str,  # a model that declines to answer uses this field
}
SPELLINGS = (*_SPELT, HIDDEN)


def spelt(field: str, text: str) -> dict[str, object]:
    """The part of a delta or message that carries this thought; empty if hidden."""
    return {} if field == HIDDEN else {field: _SPELT[field](text)}
