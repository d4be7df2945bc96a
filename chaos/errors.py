"""What may come between a fault and its target: each says what was changed, and whose it is."""

from typing import Any


class CannotInject(Exception):
    """The target is not as the fault needs it; nothing was changed, or what was changed is not the fault, and is restored."""


class Altered(ValueError):
    """The cluster took our write, and made something else of it: tried again, as any error of the world is.

    `came`: what it made, which goes into the record's state: who restores after us must not take it for another's.
    """

    def __init__(self, words: str, came: dict[str, Any] | None = None) -> None:
        super().__init__(words)
        self.came = came or {}


class Foreign(Exception):
    """Someone else changed the target: it is left as they wanted it, and reported."""


class NotYet(Exception):
    """Not verified so far, and what is missing."""
