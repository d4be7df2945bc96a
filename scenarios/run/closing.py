"""Closes a run after its users have finished: open faults, manifest, evidence."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contract import printable
from contract.counters import AFTER
from contract.records import Worker
from contract.run import ABORTED, FINISHED
from scenarios.gateway import counters
from scenarios.run.context import RunContext
from scenarios.run.ending import died


def restore_left_open(exit_code: int, argv: Sequence[str], run: Callable[..., Any] = subprocess.run) -> None:
    """If chaos died, restore its open faults from its journal. `exit_code`: of chaos; below 0: a signal."""
    if died(exit_code):
        run(argv, stdin=subprocess.DEVNULL)


def close_folder(context: RunContext, why: str | None, workers: Sequence[Worker]) -> None:
    """`why`: why the run was cut short, or None. `workers`: with their ends."""
    tally, run = context.recording.tally.snapshot(), context.run
    ended = ABORTED if why else FINISHED
    run.close(ended, context.clock.now(), why, tally.by_outcome, workers, tally.by_version)
    counters.keep(run.path, context.topology, AFTER, context.clock)


def copy_evidence(folder: Path, ledgers: Path, write_statistics: Callable[[Path], None]) -> None:
    """Copy the load generator's own statistics and the ledgers of embedded engines. An error is only printed."""
    try:
        write_statistics(folder)
        if ledgers.is_dir():
            shutil.copytree(ledgers, folder / "ledger")
    except OSError as e:
        print(
            printable.lines(f"\nnot all evidence was copied into the run: {e}"), file=sys.stderr, flush=True
        )
