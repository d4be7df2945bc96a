"""Closes a run whose users have finished: what was left open, the manifest, the evidence."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from contract.counters import AFTER
from contract.records import Worker
from contract.run import ABORTED, FINISHED
from scenarios.gateway import counters
from scenarios.run.context import RunContext


def restore_left_open(exit_code: int, argv: Sequence[str], run: Callable[..., Any] = subprocess.run) -> None:
    """Where chaos was killed: restore what it left open, from its journal. `exit_code`: of chaos; below 0: a signal."""
    if exit_code < 0:
        run(argv, stdin=subprocess.DEVNULL)


def close_folder(context: RunContext, why: str | None, workers: Sequence[Worker]) -> None:
    """`why`: the run was cut short. `workers`: how each of them ended."""
    tally, run = context.recording.tally.snapshot(), context.run
    ended = ABORTED if why else FINISHED
    run.close(ended, context.clock.now(), why, tally.by_outcome, workers, tally.by_version)
    counters.keep(run.path, context.topology, AFTER, context.clock)


def copy_evidence(folder: Path, ledgers: Path, write_statistics: Callable[[Path], None]) -> None:
    """The load generator's own statistics, and the ledgers of embedded engines. An error costs the evidence alone."""
    try:
        write_statistics(folder)
        if ledgers.is_dir():
            shutil.copytree(ledgers, folder / "ledger")
    except OSError as e:
        print(f"\nnot all evidence could be copied into the run: {e}", file=sys.stderr, flush=True)
