"""Seconds in which the load generator was overloaded, and the requests they touch. Pure.

An overloaded load generator reads answers late, sends late, and sends fewer requests than scheduled: its times are wrong.
So metrics use requests that no such second touches, and are unknown without them.
"""

import numpy as np
import pandas as pd

from analysis.metrics.shares import PROBES
from contract.records import GATEWAY, OVERLOADED_CPU_PERCENT, OVERLOADED_LAG_MS

RESOLUTION_S, RESOLUTION = 1.0, 0.1  # a value may be too long by this many seconds, or by this share of it


def overloaded_seconds(client: pd.DataFrame) -> pd.DataFrame:
    """Rows of client.arrow with more than 80 % of a core in use, or a hub lag p99 over 10 ms.

    Each row covers the second before its `at`, of one load generator (`worker`).
    """
    return client[
        (client["cpu_percent"] > OVERLOADED_CPU_PERCENT) | (client["hub_lag_ms"] > OVERLOADED_LAG_MS)
    ]


def touched(requests: pd.DataFrame, overloaded: pd.DataFrame) -> np.ndarray:
    """Mask: the requests under way (scheduled → ended) in a second in which the load generator that sent them was overloaded.

    Only seconds of a request's own worker touch it. The probe's requests are never touched: chaos, a separate process, sends
    them, and if it is late its slots are missing (see `availability.unprobed`).
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
    """Whether a length that a fit (untouched) request sent at `until` ended may have ended much earlier.

    True if, after `since` and after the last fit request through the gateway before it, more than a second and more than a tenth
    of the whole passed in which only touched requests were sent: what untouched ones would have shown is unknown.
    """
    sent = requests["sent_at"]
    between = (requests["via"] == GATEWAY) & (sent >= since) & (sent < until)
    known = sent[between & fit]
    last = float(known.max()) if len(known) else since
    blind_s = until - last
    return blind_s > max(RESOLUTION_S, RESOLUTION * (until - since)) and bool(
        (between & ~fit & (sent >= last)).any()
    )
