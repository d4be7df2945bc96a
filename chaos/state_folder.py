"""The folder for state that outlives a run: undo records, running commands, the guardian's log. It is its user's alone."""

import os
from pathlib import Path

from contract import own_file


def default_folder() -> Path:
    """`$XDG_STATE_HOME/brownout/journal`, by default in ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "brownout" / "journal"


def make(folder: Path) -> None:
    """Make a folder of the state, and the one above it, for this user alone. Raises OSError."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    must_be_own(folder)


def must_be_own(folder: Path) -> None:
    """Raises PermissionError where another user could have placed something in a folder of the state; it may be missing."""
    for one in (folder.parent, folder):
        try:
            found = one.stat()
        except FileNotFoundError:
            continue
        own_file.must_be_own(one, found)
