"""What an engine says instead of an answer, and the occasions on which every engine has words of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from embedded.engine.completion_request import CompletionRequest


@dataclass(eq=False)
class Refusal(Exception):
    """A 4xx or 5xx with a body that is the personality's own."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Voice(Protocol):
    """The words of one personality."""

    def limited(self) -> Refusal:
        """429: too many requests."""

    def failed(self) -> Refusal:
        """500: it broke while it answered."""

    def unavailable(self) -> Refusal:
        """503: not now."""

    def overloaded(self) -> Refusal:
        """Slots and queue are full."""

    def too_long(self, completion: CompletionRequest, longest: int) -> Refusal:
        """400: the prompt has no place in a context of so many tokens."""
