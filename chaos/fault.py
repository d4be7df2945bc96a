"""The interface of a fault driver. One driver is one file in `faults/`; the file's name is the fault's name in a timeline.

Two rules: no fault before its undo record is on disk, fsynced, and, on a cluster, in the target's Lease; no record is closed
before its restore is verified. The runner enforces them; a driver only provides the content of the undo record.

The verbs are those of CockroachDB's failure injection: set up, inject, wait until it took effect, recover, wait until
recovered.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from chaos.kube.cluster import Cluster
from chaos.kube.right import Right
from chaos.target import Target
from contract.strict import Strict


class Deadman(StrEnum):
    """What restores after every chaos process was killed."""

    REAPER = "the reaper, by the Lease past its deadline"
    TIMER = "a transient systemd timer on the unit's host, armed before the inject"
    ENGINE = "the engine itself, at the fault's deadline"
    OWN = "the deadman command of the handle, run before the inject"
    NOT_NEEDED = "none needed: the target's owner starts it again"
    GUARDIAN = "none but the guardian: on embedded stacks, or where the handles have unprotected: true"


class NoOptions(Strict):
    """This fault has no options under `with`."""


class Recorded(BaseModel):
    """The members of a driver's state, with their types. Those that a restore reads have no default. Others are neither read nor
    refused: an older version reads what a newer one wrote."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class Fault(ABC):
    """One way to take a target away and to restore it. `state`: what `snapshot` returned, after a round trip through JSON."""

    kinds: ClassVar[tuple[str, ...]]  # the handles it can use; the first that the topology gives is taken
    options: ClassVar[type[Strict]] = NoOptions  # the options of a step, under `with`
    by_sending: ClassVar[bool] = False  # effective only when a request to the tier gets no answer
    # The state in a Lease must have these members. No path, no process and no command is among them: others may have written it.
    recorded: ClassVar[type[Recorded]] = Recorded
    # It sends requests to its target itself: its record holds how the target is reached.
    by_http: ClassVar[bool] = False
    slow: ClassVar[bool] = False  # a call may take effect long before it returns: it counts from its begin
    every_s: float | None = None  # inject again at this interval while the step lasts

    @abstractmethod
    def __init__(self, cluster: Cluster | None, target: Target, options: Any) -> None:
        """Makes no call. `cluster` is None only where the target's handle is not on a cluster."""

    @property
    @abstractmethod
    def deadman(self) -> Deadman:
        """What restores after every chaos process was killed."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """The current state, for the undo record; `original` and `set` are shown to the operator. Raises CannotInject."""

    @abstractmethod
    def inject(self, state: dict[str, Any]) -> None:
        """Inject, provided that the target is still as in the snapshot. Raises CannotInject."""

    @abstractmethod
    def effective(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """What shows that the fault is effective, as an event's detail. None, or raises NotYet with what is missing: not yet."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Restore. Idempotent, and safe when nothing is broken: it is called repeatedly. Raises Foreign."""

    @abstractmethod
    def restored(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """What shows that the target's own system has restored it; None, or raises NotYet: not yet. (The runner also sends the
        tier a request.) Raises Foreign where someone else has deleted it."""

    @property
    def missing(self) -> str:
        """What was missing in the latest call of `restored`, as text."""
        return "not ready"

    def arm(self, state: dict[str, Any], seconds: float) -> None:  # noqa: B027  most drivers have none
        """Arm the driver's own dead-man, if it has one, to act after so many seconds. Raises CannotInject."""

    def disarm(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Disarm after the verified restore; safe when nothing is armed."""

    def moved(self, state: dict[str, Any], over: Callable[[], bool]) -> str | None:
        """Watch the target until someone else changes it; returns a description of the change. None: `over` came first, or
        changes cannot be detected."""
        return None

    def takes_s(self, state: dict[str, Any]) -> float:
        """How many seconds the target states it may take to terminate, and as long again to make room for the replacement; 0: it
        states none."""
        return 0.0

    def remarks(self, state: dict[str, Any]) -> list[str]:
        """What an operator should know of the target as in the snapshot, one sentence each."""
        return []

    def needs(self) -> list[str]:
        """What the restore needs and is missing, one sentence each; called once, before anything is injected. Raises OSError."""
        return []

    def rights(self) -> list[Right]:
        """The rights on the cluster that inject and restore need."""
        return []

    def others(self) -> list[str]:
        """Other controllers that may change the target, one sentence each, with the consequence."""
        return []
