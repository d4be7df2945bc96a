"""The exceptions of faults: each states what was changed, and by whom."""

from typing import Any


class CannotInject(Exception):
    """The target does not meet the fault's requirements. Nothing was changed, or something other than the fault: to be restored."""


class Altered(ValueError):
    """The cluster accepted the write and stored something else. It is retried, as any error of the environment.

    `came`: what it stored. It goes into the record's state, so that a later restorer does not take it for someone else's.
    """

    def __init__(self, message: str, came: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.came = came or {}


class Foreign(Exception):
    """Someone else changed the target: it is left alone, and reported."""


class NotYet(Exception):
    """Not verified yet; the message is what is missing."""
