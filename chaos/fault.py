"""The Fault: what a driver must do. One driver is one file in `faults/`; the file's name is the word in the timeline.

The law: no fault before its undo record is on disk, fsynced, and, on a cluster, in the target's Lease; no record closed
before its mend is verified. The runner keeps the law; a driver only has to tell it what the undo record holds.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from contract.topology import Handles, Tier


class CannotInject(Exception):
    """The target is not as the fault needs it; nothing was changed."""


class Foreign(Exception):
    """Someone else changed the target: it is left as they wanted it, and reported."""


class Verify(Protocol):
    """Asks whether a condition holds; returns what was seen as an event's detail, or None: not yet."""

    def __call__(self) -> dict[str, Any] | None: ...


class Fault(Protocol):
    """One way to take a target away and to bring it back."""

    handle: ClassVar[str]  # which of the topology's handles it takes hold of
    deadman: ClassVar[str]  # what mends when every process of ours is gone

    def snapshot(self) -> dict[str, Any]:
        """What is there now, for the undo record: at least `uid`, `original` and `set`. Raises CannotInject."""

    def inject(self, undo: dict[str, Any]) -> None:
        """Take it away, provided that it still is as the snapshot found it. Raises CannotInject."""

    def effective(self, undo: dict[str, Any]) -> dict[str, Any] | None:
        """A Verify: is it gone?"""

    def mend(self, undo: dict[str, Any]) -> None:
        """Bring it back. Idempotent, and safe when nothing is broken. Raises Foreign."""

    def mended(self, undo: dict[str, Any]) -> dict[str, Any] | None:
        """A Verify: is it back, as far as its own machinery tells? (The runner asks it a real question besides.)"""


Make = Callable[[Any, str], Fault]
"""cluster, handle → Fault: what a driver's file offers as `make`."""


def handle_of(tier: Tier, word: str) -> str | None:
    """The handle of that kind that the topology gives chaos for a tier; None: it is not ours to break."""
    assert word in Handles.model_fields
    return getattr(tier.handles, word)
