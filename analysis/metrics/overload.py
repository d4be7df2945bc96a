"""Seconds in which the load generator itself was late, and which asks they touch. Pure.

An overloaded load generator sees an answer late, sends late, and requests less than it was told to: its times are fiction.
So a number rests on requests that no such second touches, and where there are none it is unknown.
"""

import numpy as np
import pandas as pd

from analysis.metrics.shares import PROBES
from contract.records import GATEWAY, OVERLOADED_CPU_PERCENT, OVERLOADED_LAG_MS

RESOLUTION_S, RESOLUTION = 1.0, 0.1  # a number may be too long by so many seconds, or by such a share of it


def overloaded_seconds(client: pd.DataFrame) -> pd.DataFrame:
    """Rows of client.arrow that tell of a second with more than 80 % of its core in use, or a hub lag p99 over 10 ms.

    Each row tells of the second before its `at`, of one load generator (`worker`).
    """
    return client[
        (client["cpu_percent"] > OVERLOADED_CPU_PERCENT) | (client["hub_lag_ms"] > OVERLOADED_LAG_MS)
    ]


def touched(requests: pd.DataFrame, overloaded: pd.DataFrame) -> np.ndarray:
    """Which asks were under way, intended → ended, in a second in which the load generator that asked them was overloaded.

    A request is touched by its own worker's seconds alone. The probe's are not: chaos asks them, a process of its own,
    and where that was late its slots are missing (see `availability.unprobed`).
    """
    hit = np.zeros(len(requests), dtype=bool)
    if overloaded.empty or requests.empty:
        return hit
    start = requests["scheduled_at"].to_numpy(float)
    end = np.fmax(start, np.fmax(requests["ended_at"].to_numpy(float), requests["sent_at"].to_numpy(float)))
    by_load = ~requests["lane"].isin(PROBES).to_numpy()
    for name, rows in overloaded.groupby(overloaded["worker"].fillna("")):
        until = np.sort(rows["at"].to_numpy(float))
        own = requests["worker"] == name if name else requests["worker"].isna()
        mine = np.flatnonzero(by_load & own.to_numpy(bool))
        first = np.searchsorted(
            until, start[mine], "right"
        )  # the first second that ends after the request began
        begins = np.append(until, np.inf)[first] - 1.0
        hit[mine] = begins < end[mine]
    return hit


def rests_on_overload(requests: pd.DataFrame, fit: pd.Series, since: float, until: float) -> bool:
    """Whether a number that a fit ask sent at `until` ended may in truth have ended much earlier.

    True where, after `since` and after the last fit ask through the gateway before it, more than a second and more than a
    tenth of the whole went by in which only others were sent: what they would have shown is not known.
    """
    sent = requests["sent_at"]
    between = (requests["via"] == GATEWAY) & (sent >= since) & (sent < until)
    known = sent[between & fit]
    last = float(known.max()) if len(known) else since
    blind_s = until - last
    return blind_s > max(RESOLUTION_S, RESOLUTION * (until - since)) and bool(
        (between & ~fit & (sent >= last)).any()
    )
