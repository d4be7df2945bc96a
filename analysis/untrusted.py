"""Refuses what no run has: links in its folder, and instants and lengths that are impossible.

A run folder may be a stranger's. An instant a million years away would make every table by seconds endless.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from contract import textfile
from contract.refusal import Refusal

LONGEST_S = 100 * 86_400.0
"""Seconds of the longest run that is read."""
BY_HAND_S = 100 * LONGEST_S  # a restore by hand may come much later
LATEST = 4e9  # the year 2096, in unix seconds
_READ = (".json", ".jsonl", ".yaml", ".arrow")


def refuse_links(run: Path) -> None:
    """Refuse a run folder in which a file that is read is a link or no regular file. Raises Refusal."""
    textfile.refuse_link(run / "ledger")
    for folder in (run, run / "ledger"):
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.suffix in _READ:
                textfile.opened(file, most_bytes=MOST_BYTES, links=False).close()


MOST_BYTES = 2**40  # each reader has its own limit


class Possible:
    """The instants and lengths that a run can have which started then. Each check raises Refusal."""

    def __init__(self, run: Path, started_at: float) -> None:
        self._run, self._started_at = run, started_at
        if not 0 <= started_at <= LATEST:
            raise Refusal(f"{run}/manifest.json: started_at {started_at:g} is not a time in unix seconds")

    def check(self, file: str, table: pd.DataFrame, longest_s: float = LONGEST_S) -> None:
        """The numbers of a table: instants near the run's start, and lengths that are no longer than a run."""
        for name in table.columns:
            column = table[name]
            if column.dtype == np.float64:
                first = self._started_at if (name == "at" or str(name).endswith("_at")) else 0.0
                scale = 1000.0 if str(name).endswith("_ms") else 1.0
                self._within(file, str(name), column.to_numpy(), first, longest_s * scale)

    def gaps(self, file: str, numbers: np.ndarray) -> None:
        """The lengths between chunks, in milliseconds. None may be missing."""
        if np.isnan(numbers).any():
            raise Refusal(f"{self._run / file}: gaps_ms has a gap without a length; {_RIGHT}")
        self._within(file, "gaps_ms", numbers, 0.0, LONGEST_S * 1000)

    def _within(self, file: str, name: str, values: np.ndarray, first: float, far: float) -> None:
        if not len(values):
            return
        for found in (float(np.fmin.reduce(values)), float(np.fmax.reduce(values))):  # they pass over NaN
            if abs(found - first) > far:
                raise Refusal(f"{self._run / file}: {name} has {found:g}, which no run has; {_RIGHT}")


_RIGHT = "copy the file again from where it was recorded"
