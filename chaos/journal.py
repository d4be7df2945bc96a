"""Undo records: written and fsynced before a fault, removed after its verified mend. One file is one open fault.

They lie in one place per user and machine, so that `restore` finds them without knowing the run.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contract.run import write_whole


@dataclass(frozen=True, slots=True)
class Undo:
    """All that a mender needs, whoever it is."""

    run: str
    folder: str | None  # the run's, for the events of whoever mends in the controller's place
    step: str
    trial: int
    fault: str
    target: str  # the tier
    handle: str  # what of it: namespace/name
    cluster: str  # uid of kube-system
    kubeconfig: str | None
    embedded_pid: int | None  # of an embedded cluster: when that process is gone, so is the fault
    holder: str  # host:pid of the controller
    deadline: float  # unix seconds: by then it should have been mended
    state: dict[str, Any]  # the driver's snapshot: uid, original, set


class Journal:
    """The open faults of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, undo: Undo) -> Path:
        """On the disk when it returns. Raises OSError: then nothing may be injected."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{undo.cluster}--{undo.handle.replace('/', '--')}.json"
        if path.exists():
            holder = json.loads(path.read_text()).get("holder")
            raise FileExistsError(
                f"a fault on {undo.handle} is open already, held by {holder}; run make restore"
            )
        write_whole(path, json.dumps(asdict(undo), indent=1) + "\n")
        self._sync()
        return path

    def close(self, path: Path) -> None:
        """After the verified mend; safe to call twice."""
        path.unlink(missing_ok=True)
        self._sync()

    def records(self) -> list[tuple[Path, Undo]]:
        """What is open, oldest first."""
        paths = sorted(self._folder.glob("*.json"), key=lambda p: p.stat().st_mtime)
        return [(p, Undo(**json.loads(p.read_text()))) for p in paths]

    def _sync(self) -> None:
        # A file is on the disk only when its folder's entry is.
        fd = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def default_folder() -> Path:
    """`$XDG_STATE_HOME/brownout/journal`, by default in ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "brownout" / "journal"
