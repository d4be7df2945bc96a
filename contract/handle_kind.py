"""What is specific to one kind of handle: how a topology gives it, and what locks it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

EMBEDDED: Final = "embedded"
"""In an embedded topology: what the stack starts for this tier, or for the gateway. The stack fills it in."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a handle in a topology."""

    target: str  # the tier's name, or `gateway`
    url: str | None  # of the target's server, without /v1; None: not in the topology
    filled_in: bool = False  # the embedded stack sets its url when it is up


@dataclass(frozen=True, slots=True)
class Started:
    """What an embedded stack has started for a target."""

    pidfile: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleKind:
    """Kind and `name` identify a target's lock; in a cluster the lock is a Lease."""

    given: Any  # the type of its value in YAML, as pydantic takes it
    name: Callable[[Any, Place], str] = lambda value, place: str(
        value
    )  # unique among the handles of its kind
    # Name → namespace of its Lease; None: not on a cluster.
    lock_in: Callable[[str], str] | None = None
    # The value for `embedded`; None: not supported.
    embedded: Callable[[Started], Any] | None = None
    refused: Callable[[Any, Place], str | None] = lambda value, place: (
        None
    )  # why it is not allowed there; None: it is
    url: Callable[[str], str | None] = lambda name: None  # its address, for faults over HTTP

    @property
    def on_cluster(self) -> bool:
        return self.lock_in is not None


def namespace_in(name: str) -> str:
    """The namespace of `namespace/name`."""
    return name.split("/")[0]
