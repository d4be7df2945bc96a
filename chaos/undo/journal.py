"""Undo records: written and fsynced before a fault, removed after its verified restore. One file is one open fault.

They are in one folder per user and machine, so that `restore` finds them without knowing the run. A record is also a
lock: a second fault on the same target of the same cluster, or of this machine, finds it.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from dataclasses import Field as DataclassField
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from chaos import state_folder
from chaos.kube.answers import line
from chaos.target import Handle, Server, Target
from chaos.undo import strict_json
from contract import own_file
from contract.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Undo:
    """All data that a restore of the target needs, in any process."""

    run: str
    folder: str | None  # the run's, for the events of a restore in the controller's place
    step: str
    trial: int
    fault: str
    options: dict[str, Any]  # the timeline's `with`
    target: str  # the tier
    kind: str  # of the handle: deployment, unit, …
    handle: str  # its name: namespace/name, …
    given: dict[str, Any]  # the handle as the topology gives it, where it is more than a name
    cluster: str | None  # uid of kube-system, also of an embedded stack's; None: not on a cluster
    kubeconfig: str | None
    embedded_pid: int | None  # of an embedded stack: when that process is gone, so is the fault
    holder: str  # host:pid of the controller
    deadline: float  # unix seconds; after it others restore in the controller's place
    state: dict[str, Any]  # the driver's snapshot
    context: str | None = None  # of the kubeconfig: the current one may change meanwhile
    server: dict[str, Any] = field(default_factory=dict)  # of a fault `by_http`: how to reach its target

    @property
    def made_on(self) -> Target:
        return Target.recorded(self.target, self.target_handle, self.server)

    @property
    def target_handle(self) -> Handle:
        return Handle(self.kind, self.handle, self.given)

    @property
    def key(self) -> tuple[str | None, str, str]:
        """The locked target: one open fault for each key."""
        return self.cluster, self.kind, self.handle

    def same_fault(self, other: "Undo") -> bool:
        """Whether both are records of one fault. Their deadline may differ, since a restore may move it, and `came`, the result of
        a restore on the cluster."""
        return replace(self, deadline=other.deadline, state=_as_taken(self)) == replace(
            other, state=_as_taken(other)
        )

    @property
    def in_lease(self) -> "Undo":
        """The part of it that a Lease holds. Others may write Leases: a path, a process, a command and the name of a secret are acted
        on from the own journal alone."""
        server = {key: value for key, value in self.server.items() if key in ("url", "api")}
        return replace(
            self, folder=None, kubeconfig=None, context=None, embedded_pid=None, given={}, server=server
        )

    def to_json(self, indent: int | None = None) -> str:
        """The format of the journal, a Lease and the guardian.

        Later fields are omitted at their default, so that an older version (a reaper's image) can read the record.
        """
        return json.dumps(
            {name: v for name, v in asdict(self).items() if v or name not in _ADDED}, indent=indent
        )

    @classmethod
    def of_json(cls, text: str) -> "Undo":
        """Parses a record, also one of an older version. Raises ValueError, whose text is one line, where it is not an undo record.

        A member that is unknown is refused: a newer version writes it only where the restore needs it.
        """
        try:
            found = _TYPES.model_validate(strict_json.loads(text))
            undo = cls(**dict(found))
            Server.model_validate(undo.server)
        except ValidationError as e:
            raise ValueError(f"not an undo record of this version: {first_error(e)}") from None
        except ValueError as e:
            raise ValueError(f"not an undo record of this version: {e}") from None
        return _renamed(undo)


def first_error(error: ValidationError) -> str:
    """Where and what, in one short line."""
    found = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    return line(f"{where}: {found['msg']}" if where else found["msg"])


def _types() -> type[BaseModel]:
    """The fields of a record with their types: a number in quotes is not a number."""
    given: dict[str, Any] = {f.name: (f.type, _default(f)) for f in fields(Undo)}
    strict = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return create_model("Record", __config__=strict, **given)


def _default(of: "DataclassField[Any]") -> Any:
    if of.default_factory is not MISSING:
        return of.default_factory()  # pydantic copies it for each record
    return ... if of.default is MISSING else of.default


_TYPES = _types()


def _renamed(undo: Undo) -> Undo:
    """With the current names: a fault that an older version left open must stay restorable.

    Before run format 5, a command handle's `restore` had the key below.
    """
    if undo.kind != "command" or "mend" not in undo.given:
        return undo
    given = dict(undo.given)
    return replace(undo, given={"restore": given.pop("mend"), **given})


MOST_BYTES = 4 * strict_json.MOST  # of a file: no character has more than four
_ADDED = {f.name for f in fields(Undo) if (f.default, f.default_factory) != (MISSING, MISSING)}


def _as_taken(undo: Undo) -> dict[str, Any]:
    return {key: value for key, value in undo.state.items() if key != "came"}


def _written_at(path: Path) -> tuple[float, Path]:
    try:
        return path.lstat().st_mtime, path
    except FileNotFoundError:  # closed meanwhile
        return 0.0, path


class Taken(Exception):
    """The target has an open record; its undo is the argument."""

    def __init__(self, undo: Undo) -> None:
        super().__init__(undo)
        self.undo = undo


class Journal:
    """The open faults of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def must_be_own(self) -> None:
        """Raises Refusal where another user could have placed records in it."""
        try:
            state_folder.must_be_own(self._folder)
        except PermissionError as e:
            raise Refusal(str(e)) from None

    def open(self, undo: Undo) -> None:
        """The record is on disk when it returns. Raises Taken, and OSError: then no fault may be injected."""
        state_folder.make(self._folder)
        path = self._path(undo)
        fresh = self._written(undo)
        try:
            os.link(fresh, path)  # complete at once, and only where none exists
        except FileExistsError:
            held = self._at(path)
            if held is None:  # it has just been closed
                raise OSError(f"{path} was created and deleted meanwhile; try again") from None
            raise Taken(held) from None
        finally:
            fresh.unlink(missing_ok=True)
        self._sync()

    def rewrite(self, undo: Undo) -> None:
        """Replace the record of this fault, with another deadline. Raises OSError, and ValueError where it is not open."""
        if not self.holds(undo):
            raise ValueError(f"there is no record of this fault on {undo.handle}")
        self._written(undo).replace(self._path(undo))
        self._sync()

    def holds(self, undo: Undo) -> bool:
        """Whether the record of this fault is open."""
        held = self._at(self._path(undo))
        return held is not None and held.same_fault(undo)

    def held(self, undo: Undo) -> Undo | None:
        """The open record of the same target, of any run."""
        return self._at(self._path(undo))

    def close(self, undo: Undo) -> None:
        """Call after the verified restore; safe to call twice, and where another run's record is open now."""
        if self.holds(undo):
            self._path(undo).unlink(missing_ok=True)
            self._sync()

    def records(self, unreadable: Callable[[str], None] = lambda words: None) -> list[Undo]:
        """The open records, oldest first. A file that is not a record goes to `unreadable`, and hides no other."""
        undos = []
        try:
            state_folder.must_be_own(self._folder)
        except PermissionError as e:
            unreadable(str(e))
            return []
        for path in sorted(self._folder.glob("*.json"), key=_written_at):
            try:
                undo = self._at(path)
            except (OSError, ValueError) as e:
                unreadable(str(e))
                continue
            if undo is not None:
                undos.append(undo)
        return undos

    def _written(self, undo: Undo) -> Path:
        """Writes a file next to the record's own; it is on disk when it returns."""
        path = self._path(undo)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with open(own_file.opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as f:
            f.write(undo.to_json(indent=1) + "\n")
            f.flush()
            os.fsync(f.fileno())
        return fresh

    def _path(self, undo: Undo) -> Path:
        text = "--".join(part or "here" for part in undo.key)
        # Readable, and unique for each key; a path in a handle must not become a path here.
        digest = hashlib.sha256(repr(undo.key).encode()).hexdigest()[:8]
        return self._folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', text)[:150]}-{digest}.json"

    def _at(self, path: Path) -> Undo | None:
        try:
            state_folder.must_be_own(self._folder)
            return Undo.of_json(own_file.read_own(path, MOST_BYTES))
        except FileNotFoundError:
            return None
        except ValueError as e:
            raise ValueError(f"{path}: {e}") from None

    def _sync(self) -> None:
        # A file is on disk only when its folder's entry is.
        fd = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
