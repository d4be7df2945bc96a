"""The folder for state that outlives a run: undo records, running commands, the guardian's log."""

import os
from pathlib import Path


def default_folder() -> Path:
    """`$XDG_STATE_HOME/brownout/journal`, by default in ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "brownout" / "journal"
