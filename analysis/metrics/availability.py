"""When the gateway served, by the probe: down, brown and unprobed time. Pure.

At each instant the gateway's state is the outcome of the probe's last request sent before it, over both lanes. Requests are
sorted by the time they were sent (see `frames`). Lengths are in seconds, instants in unix seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics.shares import PROBES, for_within, users_requests, within
from analysis.metrics.target_loss import SILENT
from analysis.metrics.windows import Trial
from contract.records import GATEWAY

WINDOWS_S = (1.0, 10.0, 60.0)
SLOT_S = 2.0  # the probe's interval away from faults, or ten times what an answer takes
FAST_SLACK_S = 1.0  # around a move it sends five requests a second: a second without a slot is a stall
DRAIN_S = 15.0  # at the end the probe waits for requests in flight and sends no more


@dataclass(frozen=True)
class Stretches:
    """Disjoint intervals, in order."""

    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def s(self) -> float:
        return float((self.end - self.start).sum())

    def within(self, start: float, end: float) -> "Stretches":
        """The intervals, clipped to [start, end]."""
        low, high = np.maximum(self.start, start), np.minimum(self.end, end)
        return Stretches(low[high > low], high[high > low])


def down(requests: pd.DataFrame, start: float, end: float) -> Stretches | None:
    """Unavailability: the union of the probe's intervals without a good answer. None: it sent no request.

    An interval lasts from the sending of a failed request to the sending of the next good one. Abandoned and filtered requests
    are no evidence.
    """
    return _as(requests, start, end, lambda rows: ~rows["good"])


def brown(requests: pd.DataFrame, start: float, end: float, ttft_max_ms: float | None) -> Stretches | None:
    """Brown-outs: the probe's intervals in which the answer was good, but outside the objectives.

    An interval lasts from the sending of such a request to the sending of the next one that was not. None: the probe sent no
    request, or there is no objective.
    """
    if ttft_max_ms is None:
        return None
    return _as(requests, start, end, lambda rows: rows["good"] & ~within(rows, ttft_max_ms))


def _as(
    requests: pd.DataFrame, start: float, end: float, state: Callable[[pd.DataFrame], pd.Series]
) -> Stretches | None:
    rows = requests[
        requests["lane"].isin(PROBES)
        & (requests["via"] == GATEWAY)
        & (requests["sent_at"] <= end)
        & ~requests["outcome"].isin(SILENT)
    ]
    if rows.empty or not (rows["sent_at"] >= start).any():
        return None
    at = np.append(rows["sent_at"].to_numpy(float), end)
    holds = state(rows).to_numpy(bool)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(int)))
    return Stretches(at[turns[::2]], at[turns[1::2]]).within(start, end)


def brown_answers(requests: pd.DataFrame, ttft_max_ms: float | None) -> int:
    """How many of the users' requests got a good answer outside the objectives."""
    users = users_requests(requests[for_within(requests, ["lane", "via", "good", "ttft_ms", "latency_ms"])])
    return int((users["good"] & ~within(users, ttft_max_ms)).sum())


def worst_window(stretches: Stretches, window_s: float) -> tuple[float, float | None]:
    """The most seconds of these in any window of that length, and when such a window begins (None: no stretches).

    The worst window begins where a stretch begins or ends where one ends, so only these are examined.
    """
    if not len(stretches):
        return 0.0, None
    edges = np.column_stack([stretches.start, stretches.end]).ravel()
    came = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (np.arange(len(edges) - 1) % 2 == 0))])
    begins = np.concatenate([stretches.start, stretches.end - window_s])
    held = np.interp(begins + window_s, edges, came) - np.interp(begins, edges, came)
    worst = int(held.argmax())
    return float(held[worst]), float(begins[worst])


def unprobed(
    requests: pd.DataFrame, covered: pd.DataFrame, trials: Sequence[Trial], start: float, end: float
) -> Stretches:
    """Where the probe should have sent a request, but neither sent one nor had a slot covered: it was stalled or not running.

    During a move (begun → verified, or waited for) it sends five requests a second: unprobed is more than a second without a
    slot. Otherwise it sends one every 2 s, or every ten times the slowest of its last five good answers, if that is longer:
    unprobed is more than 1.5 times that plus a second. Unprobed time shows neither an outage nor service.
    """
    rows = requests[requests["lane"].isin(PROBES) & (requests["via"] == GATEWAY)]
    at = np.concatenate(
        [
            rows["sent_at"].fillna(rows["scheduled_at"]).to_numpy(float),
            covered["scheduled_at"].to_numpy(float),
        ]
    )
    took_ms = np.concatenate(
        [rows["latency_ms"].where(rows["good"]).to_numpy(float), np.full(len(covered), np.nan)]
    )
    order = np.argsort(at, kind="stable")
    at, took_ms = at[order], took_ms[order]
    if not len(at):
        return Stretches(np.array([start]), np.array([end])) if end > start else Stretches(at, at)
    slowest_s = pd.Series(took_ms).rolling(5, min_periods=1).max().ffill().fillna(0.0).to_numpy() / 1000
    allowed_s = 1.5 * np.maximum(SLOT_S, 10 * slowest_s) + 1.0
    begins = np.concatenate([[start], at + allowed_s])
    ends = np.concatenate([at, [end - DRAIN_S]])
    begins[0] = start + allowed_s[0] if at[0] > start else start
    found = [Stretches(begins, ends).within(start, end)]
    for low, high in _moves(trials):
        first, last = np.searchsorted(at, [low, high])
        edges = np.concatenate([[low], at[first:last], [high]])
        slow = np.diff(edges) > FAST_SLACK_S
        found.append(Stretches(edges[:-1][slow], edges[1:][slow]).within(start, end))
    return union(*found)


def _moves(trials: Sequence[Trial]) -> list[tuple[float, float]]:
    """begun → verified, or waited for, of every inject and restore, if known: while chaos waits, the probe uses the calm pace."""
    spans = []
    for t in trials:
        for begun, waiting, done in (
            (t.begun_at, t.inject_waiting_at, t.effective_at),
            (t.restore_begun_at, t.restore_waiting_at, t.restored_at),
        ):
            known = [at for at in (waiting, done) if at is not None]
            if begun is not None and known:
                spans.append((begun, min(known)))
    return spans


def union(*parts: Stretches) -> Stretches:
    """The union of the intervals."""
    start = np.concatenate([p.start for p in parts])
    end = np.concatenate([p.end for p in parts])
    if not len(start):
        return parts[0]
    order = np.argsort(start)
    start, reached = start[order], np.maximum.accumulate(end[order])
    first = np.concatenate([[True], start[1:] > reached[:-1]])
    last = np.concatenate([first[1:], [True]])
    return Stretches(start[first], reached[last])
