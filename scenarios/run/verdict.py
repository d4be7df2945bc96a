"""Runs the analysis of a closed run and returns its verdict."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Verdict:
    """The text printed at the end, and the exit code."""

    text: str
    exit_code: int


Report = Callable[[Path], Verdict]
"""Makes the report of the run in this folder."""


def argv(folder: Path) -> list[str]:
    return [sys.executable, "-m", "analysis", "report", str(folder)]


def report(folder: Path) -> Verdict:
    """Run the analysis, which writes report/ into the folder."""
    done = subprocess.run(argv(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    return Verdict(done.stdout, done.returncode)
