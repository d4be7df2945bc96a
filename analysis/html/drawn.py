"""Which answers the timeline draws: all if they are few; else those that are visually distinct, and every failure. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.columnar.thinning import kept
from analysis.metrics.shares import PROBES
from contract.records import GATEWAY, Outcome

MOST_GOOD, MOST_FAILED = 24_000, 12_000  # so that a page stays under 10 MB, Plotly included
COLUMNS, ROWS = 1600, 160  # the finest grid; a coarser one if that still keeps too many


@dataclass(frozen=True, slots=True)
class Drawn:
    """`requests` to draw, in the order in which they were sent; the number sent, and how many of these failed."""

    requests: pd.DataFrame
    sent: int
    failed: int
    failed_drawn: int

    @property
    def caption(self) -> str:
        """`n = 1,204 requests, all drawn`"""
        if len(self.requests) == self.sent:
            return f"n = {self.sent:,} requests, all drawn."
        thinned = f"n = {self.sent:,} requests; {len(self.requests):,} are drawn: overlapping good answers are thinned"
        if self.failed == self.failed_drawn:
            return f"{thinned}; all {self.failed:,} that failed, were cut or stalled are drawn."
        return f"{thinned}; of those that failed, were cut or stalled, {self.failed_drawn:,} of {self.failed:,} are drawn."


def choose(requests: pd.DataFrame) -> Drawn:
    """Of all requests that were sent, abandoned ones left out."""
    there = np.flatnonzero(
        (requests["sent_at"].notna() & (requests["outcome"] != Outcome.ABANDONED)).to_numpy(bool)
    )
    sent_at = requests["sent_at"].to_numpy(float)
    latency_ms = requests["latency_ms"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.nan_to_num(
            np.log10(latency_ms), nan=0.0, neginf=0.0
        )  # a request without a latency is placed too
    group = _groups(requests)
    good = requests["good"].to_numpy(bool)
    failed = there[~good[there]]
    both = [
        _thinned(there[good[there]], sent_at, height, group, MOST_GOOD),
        _thinned(failed, sent_at, height, group, MOST_FAILED),
    ]
    return Drawn(requests.iloc[np.sort(np.concatenate(both))], len(there), len(failed), len(both[1]))


def _groups(requests: pd.DataFrame) -> np.ndarray:
    """Group numbers of requests that are drawn alike: one tier and outcome, and from the probe, from users or direct to a tier."""
    tier, _ = pd.factorize(requests["tier"])
    outcome, _ = pd.factorize(requests["outcome"])
    way = np.where(requests["via"] != GATEWAY, 2, requests["lane"].isin(PROBES))
    return (((tier + 1) * 16 + outcome) * 3 + way.astype(int)).astype(np.int32)


def _thinned(places: np.ndarray, x: np.ndarray, y: np.ndarray, group: np.ndarray, most: int) -> np.ndarray:
    columns, rows = COLUMNS, ROWS
    while len(places) > most:
        of, _ = pd.factorize(group[places])
        places = places[kept(x[places], y[places], of, columns, rows)]
        if columns < 20:
            break
        columns, rows = columns * 3 // 4, max(8, rows * 3 // 4)
    return places
