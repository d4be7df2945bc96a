"""What one kind of handle has of its own: how it is given in a topology, and what locks it. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

EMBEDDED: Final = "embedded"
"""In an embedded topology: what is started for this tier, or for the gateway. The stack fills it in."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a handle stands in a topology."""

    target: str  # the tier's name, or `gateway`
    url: str | None  # of the target's server, without /v1; None: the topology gives none
    filled_in: bool = False  # an embedded stack gives it its url when it is up


@dataclass(frozen=True, slots=True)
class Started:
    """What an embedded stack has started for a target."""

    pidfile: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleKind:
    """A target's lock is known by kind and `name`; of a cluster's it is a Lease."""

    given: Any  # the type of its value in YAML, as pydantic takes it
    name: Callable[[Any, Place], str] = lambda value, place: str(
        value
    )  # unique among the handles of its kind
    # Its Lease's namespace, by its name; None: it is of no cluster.
    lock_in: Callable[[str], str] | None = None
    # What `embedded` stands for; None: the word is not known.
    embedded: Callable[[Started], Any] | None = None
    refused: Callable[[Any, Place], str | None] = lambda value, place: None  # why it may not stand there
    url: Callable[[str], str | None] = lambda name: None  # the address that its name is, for faults over HTTP

    @property
    def on_cluster(self) -> bool:
        return self.lock_in is not None


def namespace_in(name: str) -> str:
    """Of `namespace/name`."""
    return name.split("/")[0]
