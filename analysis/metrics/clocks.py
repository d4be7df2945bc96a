"""Instants that a worker's clock told, as the master's would have told them. Pure.

A worker on another host has a clock of its own. Its offset was measured again and again over the run (clocks.jsonl); it
is subtracted here, once, so that everything after this reads one clock. How far that can be trusted goes with each row.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

OFFSET_COLUMNS = ["at", "worker", "offset_s", "uncertainty_s"]


def one_clock(rows: pd.DataFrame, instants: Sequence[str], offsets: pd.DataFrame) -> pd.DataFrame:
    """Rows whose `instants` are the master's, with a column `clock_uncertainty_s` that says give or take how much.

    Between two measurements the offset, and its uncertainty, is taken to go evenly from one to the other. 0 where there
    is no worker: master, chaos and probe share one machine's clock. NaN where nobody measured that worker's clock; its
    instants are left as they are. The first of `instants` says when the row was.
    """
    kinds = pd.Categorical(rows["worker"])
    give_s = np.zeros(len(rows))
    told = {name: rows[name].to_numpy(float, copy=True) for name in instants} if len(kinds.categories) else {}
    for code, worker in enumerate(kinds.categories):
        mine = np.flatnonzero(kinds.codes == code)
        known = offsets[offsets["worker"] == worker].sort_values("at")
        if known.empty:
            give_s[mine] = np.nan
            continue
        at, offset_s = known["at"].to_numpy(float), known["offset_s"].to_numpy(float)
        when = told[instants[0]][mine] - offset_s[0]
        ahead_s = np.interp(when, at, offset_s)
        for name in instants:
            told[name][mine] -= ahead_s
        give_s[mine] = np.interp(when, at, known["uncertainty_s"].to_numpy(float))
    return rows.assign(**told, clock_uncertainty_s=give_s)


def table(lines: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """The lines of clocks.jsonl."""
    found = pd.DataFrame(list(lines), columns=OFFSET_COLUMNS)
    numbers = ["at", "offset_s", "uncertainty_s"]
    found[numbers] = found[numbers].astype("float64")
    return found
