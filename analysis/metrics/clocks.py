"""Converts times of a worker's clock to the master's clock. Pure.

A worker on another host has its own clock. Its offset is measured repeatedly during the run (clocks.jsonl) and subtracted
here, once, so that all later code uses one clock. Each row keeps the uncertainty.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

OFFSET_COLUMNS = ["at", "worker", "offset_s", "uncertainty_s"]


def one_clock(rows: pd.DataFrame, instants: Sequence[str], offsets: pd.DataFrame) -> pd.DataFrame:
    """The rows with their columns `instants` on the master's clock, and the column `clock_uncertainty_s` (± seconds).

    The offset and its uncertainty are interpolated between measurements. 0 without a worker: master, chaos and probe share one
    machine's clock. NaN if that worker's clock was not measured; its instants are then unchanged. The first of `instants` is
    the row's time.
    """
    kinds = pd.Categorical(rows["worker"])
    uncertainty_s = np.zeros(len(rows))
    times = (
        {name: rows[name].to_numpy(float, copy=True) for name in instants} if len(kinds.categories) else {}
    )
    for code, worker in enumerate(kinds.categories):
        mine = np.flatnonzero(kinds.codes == code)
        known = offsets[offsets["worker"] == worker].sort_values("at")
        if known.empty:
            uncertainty_s[mine] = np.nan
            continue
        at, offset_s = known["at"].to_numpy(float), known["offset_s"].to_numpy(float)
        when = times[instants[0]][mine] - offset_s[0]
        ahead_s = np.interp(when, at, offset_s)
        for name in instants:
            times[name][mine] -= ahead_s
        uncertainty_s[mine] = np.interp(when, at, known["uncertainty_s"].to_numpy(float))
    return rows.assign(**times, clock_uncertainty_s=uncertainty_s)


def table(lines: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """The lines of clocks.jsonl."""
    found = pd.DataFrame(list(lines), columns=OFFSET_COLUMNS)
    numbers = ["at", "offset_s", "uncertainty_s"]
    found[numbers] = found[numbers].astype("float64")
    return found
