"""The error responses of an engine, and the cases in which each personality has its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from embedded.engine.completion_request import CompletionRequest


@dataclass(eq=False)
class Refusal(Exception):
    """A 4xx or 5xx response with the personality's own body."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusals(Protocol):
    """The error responses of one personality."""

    def limited(self) -> Refusal:
        """429: too many requests."""

    def failed(self) -> Refusal:
        """500: internal error."""

    def unavailable(self) -> Refusal:
        """503: temporarily unavailable."""

    def overloaded(self) -> Refusal:
        """Slots and queue are full."""

    def too_long(self, completion: CompletionRequest, longest: int) -> Refusal:
        """400: the prompt does not fit into a context of `longest` tokens."""
