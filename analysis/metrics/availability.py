"""What share of the time the gateway served, by the probe: down, brown, and what the probe did not see. Pure.

At each instant the gateway is as the last request of the probe that was sent before it turned out, over both lanes. Requests come
in the order in which they were sent (see `frames`); lengths here are seconds, instants unix seconds.
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
FAST_SLACK_S = 1.0  # around a move it asks five a second: a second without a slot is a stall
DRAIN_S = 15.0  # at its end the probe waits for what is in flight, and asks no more


@dataclass(frozen=True)
class Stretches:
    """Parts of a time, in order and apart from each other."""

    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def s(self) -> float:
        return float((self.end - self.start).sum())

    def within(self, start: float, end: float) -> "Stretches":
        """What of them lies between two instants."""
        low, high = np.maximum(self.start, start), np.minimum(self.end, end)
        return Stretches(low[high > low], high[high > low])


def down(requests: pd.DataFrame, start: float, end: float) -> Stretches | None:
    """Unavailability: the union of the probe's intervals without a good answer. None where it did not ask.

    From each failed request's sending until the next good one's sending. Abandoned and filtered requests say nothing.
    """
    return _as(requests, start, end, lambda rows: ~rows["good"])


def brown(requests: pd.DataFrame, start: float, end: float, ttft_max_ms: float | None) -> Stretches | None:
    """Brown-outs: the probe's intervals in which the answer was good, but outside the objectives.

    From each such request's sending until the sending of the next one that was not. None where the probe did not ask, or
    where there is no objective.
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
    """How many of the users' requests were answered well, but outside the objectives."""
    users = users_requests(requests[for_within(requests, ["lane", "via", "good", "ttft_ms", "latency_ms"])])
    return int((users["good"] & ~within(users, ttft_max_ms)).sum())


def worst_window(stretches: Stretches, window_s: float) -> tuple[float, float | None]:
    """The most seconds of these in any window of that length, and when such a window begins; None where there are none.

    The worst window begins where a stretch begins or ends where one ends, so only these are looked at.
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
    """Where the probe should have asked, and neither asked nor had a slot covered: it was stalled, or not there.

    While a move is made (begun → verified, or waited for) it asks five a second: there, more than a second without a slot. Elsewhere it
    asks every 2 s, or every ten times what the slowest of its last five good answers took, if that is longer: there, more
    than one and a half times that and a second. What was not asked shows no outage, and no service either.
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
    """begun → verified, or waited for, of every inject and restore as far as it is known: who waits requests at the calm pace."""
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
    """What lies in any of them."""
    start = np.concatenate([p.start for p in parts])
    end = np.concatenate([p.end for p in parts])
    if not len(start):
        return parts[0]
    order = np.argsort(start)
    start, reached = start[order], np.maximum.accumulate(end[order])
    first = np.concatenate([[True], start[1:] > reached[:-1]])
    last = np.concatenate([first[1:], [True]])
    return Stretches(start[first], reached[last])
