"""The file by which others know an engine's process."""

import os
from pathlib import Path


def write(path: Path) -> None:
    """This process's pid. Nobody reads half of one; the file stays when the process goes."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(f"{os.getpid()}\n")
    fresh.replace(path)
