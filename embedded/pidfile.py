"""The file that holds an engine's process id."""

import os
from pathlib import Path


def write(path: Path) -> None:
    """Writes this process's pid atomically. The file stays when the process ends."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w") as f:
        f.write(f"{os.getpid()}\n")
    fresh.replace(path)
