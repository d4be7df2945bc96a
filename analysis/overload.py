"""Seconds in which the load generator itself was late, and which asks they touch. Pure.

An overloaded load generator sees an answer late, sends late, and asks less than it was told to: its times are fiction.
So a number rests on asks that no such second touches, and where there are none it is unknown.
"""

import numpy as np
import pandas as pd

from analysis.metrics import PROBES

CPU_PERCENT = 80.0
LAG_MS = 10.0
RESOLUTION_S = 1.0


def overloaded_seconds(client: pd.DataFrame) -> pd.DataFrame:
    """Rows of client.arrow that tell of a second with more than 80 % of its core in use, or a hub lag p99 over 10 ms.

    Each row tells of the second before its `at`, of one load generator (`worker`).
    """
    return client[(client["cpu_percent"] > CPU_PERCENT) | (client["hub_lag_ms"] > LAG_MS)]


def touched(asks: pd.DataFrame, overloaded: pd.DataFrame) -> np.ndarray:
    """Which asks were under way, intended → ended, in a second in which the load generator that asked them was overloaded.

    An ask is touched by its own worker's seconds alone. The probe's are not: chaos asks them, a process of its own,
    and where that was late its slots are missing (see `availability.unasked`).
    """
    hit = np.zeros(len(asks), dtype=bool)
    if overloaded.empty or asks.empty:
        return hit
    start = asks["intended_at"].to_numpy(float)
    end = np.fmax(start, np.fmax(asks["ended_at"].to_numpy(float), asks["sent_at"].to_numpy(float)))
    by_load = ~asks["lane"].isin(PROBES).to_numpy()
    worker = asks["worker"].fillna("").to_numpy()
    for name, rows in overloaded.groupby(overloaded["worker"].fillna("")):
        until = np.sort(rows["at"].to_numpy(float))
        mine = np.flatnonzero(by_load & (worker == name))
        first = np.searchsorted(until, start[mine], "right")  # the first second that ends after the ask began
        begins = np.append(until, np.inf)[first] - 1.0
        hit[mine] = begins < end[mine]
    return hit


def rests_on_overload(asks: pd.DataFrame, since: float, until: float) -> bool:
    """Whether a number that an untouched ask sent at `until` ended may in truth have ended more than a second earlier.

    True where, after `since` and after the last untouched ask through the gateway before it, more than a second went
    by in which only touched ones were sent: what they would have shown is not known.
    """
    sent = asks["sent_at"]
    between = asks[(asks["via"] == "gateway") & (sent >= since) & (sent < until)]
    fit = between.loc[~between["touched"], "sent_at"]
    last = float(fit.max()) if len(fit) else since
    return until - last > RESOLUTION_S and bool((between["touched"] & (between["sent_at"] >= last)).any())
