"""One trial of one cell, and the worker that runs many of them on its own cluster."""

import re
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

from tests.torture.bench import Bench
from tests.torture.cells import matrix


def work(tasks: Any, results: Any, keep: Path | None) -> None:
    cells = matrix()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        while (task := tasks.get()) is not None:
            results.put(run(bench, task[0], task[1], cells, keep))
        bench.close()


def run(
    bench: Bench, name: str, trial: int, cells: dict[str, Any], keep: Path | None = None
) -> dict[str, Any]:
    """One trial, as its row in trials.jsonl: seconds from the signals to the restore commanded, and to ready again."""
    began = time.monotonic()
    why = None
    at = None
    try:
        bench.trial(f"{re.sub('[^A-Za-z0-9]+', '-', name)}-{trial}")
        at = cells[name](bench, Random(f"{name} {trial}"))
    except Exception as e:
        why = f"{type(e).__name__}: {e}"[:500]
        if keep is not None:
            shutil.copytree(bench.run, keep / bench.run.name, dirs_exist_ok=True)
            (keep / bench.run.name / "why").write_text(traceback.format_exc())
    finally:
        bench.stand.intercept = None
        bench.end_all()
    return {
        "cell": name, "trial": trial, "restored": why is None, "why": why,
        "commanded_s": None if at is None else bench.commanded_after(at),
        "ready_s": None if at is None else bench.ready_after(at),
        "took_s": round(time.monotonic() - began, 2),
    }  # fmt: skip
