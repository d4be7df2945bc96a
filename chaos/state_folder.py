"""Where this machine keeps what must outlive a run: undo records, commands that run, the log of the guardian."""

import os
from pathlib import Path


def default_folder() -> Path:
    """`$XDG_STATE_HOME/brownout/journal`, by default in ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "brownout" / "journal"
