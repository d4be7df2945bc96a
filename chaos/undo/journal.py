"""Undo records: written and fsynced before a fault, removed after its verified restore. One file is one open fault.

They lie in one place per user and machine, so that `restore` finds them without knowing the run. A record is a lock
too: a second fault on the same target of the same cluster, or of this machine, finds it.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from chaos.target import Handle, Target


@dataclass(frozen=True, slots=True)
class Undo:
    """All that is needed to restore the target, whoever does it."""

    run: str
    folder: str | None  # the run's, for the events of who restores in the controller's place
    step: str
    trial: int
    fault: str
    options: dict[str, Any]  # the timeline's `with`
    target: str  # the tier
    kind: str  # of the handle: deployment, unit, …
    handle: str  # its name: namespace/name, …
    given: dict[str, Any]  # the handle as the topology gives it, where it is more than a name
    cluster: str | None  # uid of kube-system, also of an embedded stack's; None: no cluster is concerned
    kubeconfig: str | None
    embedded_pid: int | None  # of an embedded stack: when that process is gone, so is the fault
    holder: str  # host:pid of the controller
    deadline: float  # unix seconds: from then on others restore in the controller's place
    state: dict[str, Any]  # the driver's snapshot
    context: str | None = None  # of the kubeconfig: another may be made the current one meanwhile
    server: dict[str, Any] = field(default_factory=dict)  # of a fault `by_http`: how its target is reached

    @property
    def made_on(self) -> Target:
        return Target.recorded(self.target, self.target_handle, self.server)

    @property
    def target_handle(self) -> Handle:
        return Handle(self.kind, self.handle, self.given)

    @property
    def key(self) -> tuple[str | None, str, str]:
        """What is locked: one open fault for each."""
        return self.cluster, self.kind, self.handle

    def same_fault(self, other: "Undo") -> bool:
        """Whether both are records of one fault. Their deadlines may differ, since a restore may move it, and what the cluster
        made of a restore (`came`)."""
        return replace(self, deadline=other.deadline, state=_as_taken(self)) == replace(
            other, state=_as_taken(other)
        )

    def to_json(self, indent: int | None = None) -> str:
        """As the journal, a Lease and the guardian get it.

        What is as by default is left out, so that a reader of an older version (a reaper's image) takes a record that does
        without what was added.
        """
        return json.dumps(
            {name: v for name, v in asdict(self).items() if v or name not in _ADDED}, indent=indent
        )

    @classmethod
    def of_json(cls, text: str) -> "Undo":
        """A record as it was written, also by the previous version. Raises ValueError where it is none of ours."""
        try:
            return _renamed(cls(**json.loads(text)))
        except TypeError as e:
            raise ValueError(f"not an undo record of this version: {e}") from None


def _renamed(undo: Undo) -> Undo:
    """With the names of today: a fault that an older version left open must stay restorable.

    Until runs had format 5, a command handle's `restore` was called `mend`.
    """
    if undo.kind != "command" or "mend" not in undo.given:
        return undo
    given = dict(undo.given)
    return replace(undo, given={"restore": given.pop("mend"), **given})


_ADDED = {f.name for f in fields(Undo) if (f.default, f.default_factory) != (MISSING, MISSING)}


def _as_taken(undo: Undo) -> dict[str, Any]:
    return {key: value for key, value in undo.state.items() if key != "came"}


class Taken(Exception):
    """The target has an open record; its undo is the argument."""

    def __init__(self, undo: Undo) -> None:
        super().__init__(undo)
        self.undo = undo


class Journal:
    """The open faults of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, undo: Undo) -> None:
        """On the disk when it returns. Raises Taken, and OSError: then nothing may be injected."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(undo)
        fresh = self._written(undo)
        try:
            os.link(fresh, path)  # at once whole, and only where there is none
        except FileExistsError:
            held = self._at(path)
            if held is None:  # it has just been closed
                raise OSError(f"{path} was created and deleted meanwhile; try again") from None
            raise Taken(held) from None
        finally:
            fresh.unlink(missing_ok=True)
        self._sync()

    def rewrite(self, undo: Undo) -> None:
        """Replace the record of this very fault, with another deadline. Raises OSError, and ValueError where it is not open."""
        if not self.holds(undo):
            raise ValueError(f"there is no record of this fault on {undo.handle}")
        self._written(undo).replace(self._path(undo))
        self._sync()

    def holds(self, undo: Undo) -> bool:
        """Whether the record of this very fault is open."""
        held = self._at(self._path(undo))
        return held is not None and held.same_fault(undo)

    def held(self, undo: Undo) -> Undo | None:
        """The open record of the same target, whosever it is."""
        return self._at(self._path(undo))

    def close(self, undo: Undo) -> None:
        """After the verified restore; safe to call twice, and where another's record is open by now."""
        if self.holds(undo):
            self._path(undo).unlink(missing_ok=True)
            self._sync()

    def records(self, unreadable: Callable[[str], None] = lambda words: None) -> list[Undo]:
        """What is open, oldest first. A file that is no record is told, and hides no other."""
        undos = []
        for _, path in sorted((p.stat().st_mtime, p) for p in self._folder.glob("*.json")):
            try:
                undo = self._at(path)
            except (OSError, ValueError) as e:
                unreadable(f"{path}: {e}")
                continue
            if undo is not None:
                undos.append(undo)
        return undos

    def _written(self, undo: Undo) -> Path:
        """A file beside the record's own, on the disk when it returns."""
        path = self._path(undo)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.{undo.step}")
        with open(fresh, "w") as f:
            f.write(undo.to_json(indent=1) + "\n")
            f.flush()
            os.fsync(f.fileno())
        return fresh

    def _path(self, undo: Undo) -> Path:
        text = "--".join(part or "here" for part in undo.key)
        # Readable, and still one for each key: a path in a handle must not become a path here.
        digest = hashlib.sha256(repr(undo.key).encode()).hexdigest()[:8]
        return self._folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', text)[:150]}-{digest}.json"

    def _at(self, path: Path) -> Undo | None:
        try:
            return Undo.of_json(path.read_text())
        except FileNotFoundError:
            return None

    def _sync(self) -> None:
        # A file is on the disk only when its folder's entry is.
        fd = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
