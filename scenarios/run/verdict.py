"""Runs the analysis of a closed run and returns its verdict."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contract.refusal import (
    EXIT_ABORTED,
    EXIT_FAIL,
    EXIT_INTERNAL_ERROR,
    EXIT_NOT_RESTORED,
    EXIT_PASS,
    EXIT_UNKNOWN,
    how_ended,
)

VERDICTS = (EXIT_PASS, EXIT_FAIL, EXIT_ABORTED, EXIT_NOT_RESTORED, EXIT_UNKNOWN)


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
    """Run the analysis, which writes report/ into the folder. The exit code is 70 if it ended without a verdict."""
    done = subprocess.run(argv(folder), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode in VERDICTS:
        return Verdict(done.stdout, done.returncode)
    why = f"there is no verdict: {how_ended('the analysis', done.returncode)}; make report RUN={folder} tries it again"
    return Verdict(f"{done.stdout}{why}", EXIT_INTERNAL_ERROR)


def exit_code(report: int, chaos: int, internal_error: bool) -> int:
    """Of the whole run. 4, a target that is not restored, comes first, then 70, then the verdict.

    `internal_error`: the load generator met an error of its own.
    """
    if EXIT_NOT_RESTORED in (report, chaos):
        return EXIT_NOT_RESTORED
    if internal_error or chaos == EXIT_INTERNAL_ERROR:
        return EXIT_INTERNAL_ERROR
    return report
