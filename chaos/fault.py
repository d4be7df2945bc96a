"""The Fault: what a driver must do. One driver is one file in `faults/`; the file's name is the word in the timeline.

The law: no fault before its undo record is on disk, fsynced, and, on a cluster, in the target's Lease; no record closed
before its restore is verified. The runner keeps the law; a driver only has to tell it what the undo record holds.

The verbs are those of CockroachDB's failure injection: set up, inject, wait until it took effect, recover, wait until
recovered.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from chaos.kube.cluster import Cluster
from chaos.kube.right import Right
from chaos.target import Target
from contract.strict import Strict


class Deadman(StrEnum):
    """What restores when every process of ours is gone."""

    REAPER = "the reaper, by the Lease past its deadline"
    TIMER = "a transient systemd timer on the unit's host, armed before the inject"
    ENGINE = "the engine itself, at the fault's deadline"
    OWN = "the deadman command of the handle, run before the inject"
    NOT_NEEDED = "none needed: what owns the target starts it again"
    GUARDIAN = "none but the guardian: on embedded stacks, or where the handles say unprotected: true"


class NoOptions(Strict):
    """The timeline gives this fault nothing under `with`."""


class Fault(ABC):
    """One way to take a target away and to bring it back. `state` is what `snapshot` gave, as JSON keeps it."""

    kinds: ClassVar[tuple[str, ...]]  # the handles it can take hold of; the first that the topology gives
    options: ClassVar[type[Strict]] = NoOptions  # what the timeline may give under `with`
    by_sending: ClassVar[bool] = (
        False  # it is effective only when a real question to the tier goes unanswered
    )
    # It sends requests to its target itself: its record holds how that is reached.
    by_http: ClassVar[bool] = False
    slow: ClassVar[bool] = False  # a call may take effect long before it ends: it counts from where it begins
    every_s: float | None = None  # inject again so often while the step lasts

    @abstractmethod
    def __init__(self, cluster: Cluster | None, target: Target, options: Any) -> None:
        """No call is made yet. `cluster` is None only where the target's handle is none of a cluster's."""

    @property
    @abstractmethod
    def deadman(self) -> Deadman:
        """What restores when every process of ours is gone."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """What is there now, for the undo record: `original` and `set` are shown to the operator. Raises CannotInject."""

    @abstractmethod
    def inject(self, state: dict[str, Any]) -> None:
        """Take it away, provided that it still is as the snapshot found it. Raises CannotInject."""

    @abstractmethod
    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """Is it gone? What was seen, as an event's detail; None, or NotYet with what is missing: not yet."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Bring it back. Idempotent, and safe when nothing is broken: it is called again and again. Raises Foreign."""

    @abstractmethod
    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """Is it back, as far as its own machinery tells? (The runner asks the tier a real question besides.) Raises Foreign where
        somebody else has deleted it."""

    @property
    def missing(self) -> str:
        """What it lacked to be back when `restored` last looked, in words."""
        return "not ready"

    def arm(self, state: dict[str, Any], seconds: float) -> None:  # noqa: B027  most drivers have none
        """Arm the dead-man where it is the driver's own, to act after so many seconds. Raises CannotInject."""

    def disarm(self, state: dict[str, Any]) -> None:  # noqa: B027
        """After the verified restore; safe when nothing is armed."""

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        """Watch the target until someone else moves it off what was set: the words for it. None: `over` came first,
        or nobody can tell."""
        return None

    def takes_s(self, state: dict[str, Any]) -> float:
        """How long what is taken away may take to go, by its own account, and as long to make room for what comes back;
        0: it has none."""
        return 0.0

    def remarks(self, state: dict[str, Any]) -> list[str]:
        """What of the target, as the snapshot found it, an operator should know, a sentence each."""
        return []

    def needs(self) -> list[str]:
        """What its way back needs and is not there, a sentence each; asked once, before anything is taken away.
        Raises OSError."""
        return []

    def rights(self) -> list[Right]:
        """What the cluster must allow, to inject as well as to restore."""
        return []

    def others(self) -> list[str]:
        """Who else might move the target, a sentence each: what will happen then."""
        return []
