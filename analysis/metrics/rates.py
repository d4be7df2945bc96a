"""Tokens and answers over time, and per second. Each docstring is the definition. Pure."""

import numpy as np
import pandas as pd

ANSWERS = 1_000_000  # whose tokens are spread over time together
_SPREAD = ["sent_at", "ttft_ms", "ended_at", "stream", "output_tokens"]


def tokens_over_time(requests: pd.DataFrame, tiers: list[str], edges: np.ndarray) -> pd.DataFrame:
    """Throughput: output tokens a second between each two edges, per tier.

    An answer's tokens (of cut ones too) are spread evenly from its first token to its end; for a plain answer, and one that
    shows no token, over its whole exchange. Answers without a reported usage are not included.
    """
    out = {}
    known = requests["output_tokens"].notna().to_numpy() & requests["ended_at"].notna().to_numpy()
    for tier in tiers:
        came = np.zeros(len(edges) - 1)
        which = np.flatnonzero(known & (requests["tier"] == tier).to_numpy())
        for i in range(0, len(which), ANSWERS):
            came += _tokens_between(requests[_SPREAD].iloc[which[i : i + ANSWERS]], edges)
        out[tier] = came / np.diff(edges)
    return pd.DataFrame(out, index=edges[:-1])


def _tokens_between(answers: pd.DataFrame, edges: np.ndarray) -> np.ndarray:
    sent = answers["sent_at"].to_numpy(float)
    ttft_ms = answers["ttft_ms"].to_numpy(float)
    start = sent + np.where(answers["stream"].to_numpy(bool) & ~np.isnan(ttft_ms), ttft_ms, 0.0) / 1000
    end = np.maximum(answers["ended_at"].to_numpy(float), start + 1e-3)
    return _spread(start, end, answers["output_tokens"].to_numpy(float), edges)


def answers_over_time(requests: pd.DataFrame, tiers: list[str], edges: np.ndarray) -> pd.DataFrame:
    """Throughput: good answers a second between each two edges, per tier; an answer counts where it ended."""
    good = requests.loc[requests["good"] & requests["ended_at"].notna(), ["tier", "ended_at"]]
    out = {}
    for tier in tiers:
        ended_at = good.loc[good["tier"] == tier, "ended_at"].to_numpy(float)
        out[tier] = np.histogram(ended_at, edges)[0] / np.diff(edges)
    return pd.DataFrame(out, index=edges[:-1])


def _spread(start: np.ndarray, end: np.ndarray, tokens: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Tokens that came between each two edges."""
    n = len(edges)
    rate = tokens / (end - start)
    slope, came = (
        np.zeros(n),
        np.zeros(n),
    )  # the rate at an edge (tokens/s), and the tokens in the interval before it
    for at, change in ((start, rate), (end, -rate)):
        until = np.searchsorted(edges, at)  # the first edge at or after it
        within = until < n
        slope += np.bincount(until[within], change[within], n)
        rest_s = edges[until[within]] - at[within]
        came += np.bincount(until[within], change[within] * rest_s, n)
    return came[1:] + np.cumsum(slope)[:-1] * np.diff(edges)


def tokens_per_s(requests: pd.DataFrame) -> float | None:
    """Throughput: output tokens of all answers ÷ the time in which at least one of these was under way.

    A tier's rate while it is busy, at the concurrency of the run; None if no usage was reported.
    """
    known = requests["output_tokens"].notna() & requests["ended_at"].notna() & requests["tier"].notna()
    busy_s = _busy_s(requests, known)
    return float(requests.loc[known, "output_tokens"].sum()) / busy_s if busy_s > 0 else None


def answers_per_s(requests: pd.DataFrame) -> float | None:
    """Throughput: good answers ÷ the time in which at least one of them was under way; None if there is none."""
    ended = requests["good"] & requests["ended_at"].notna()
    busy_s = _busy_s(requests, ended)
    return int(ended.sum()) / busy_s if busy_s > 0 else None


def _busy_s(requests: pd.DataFrame, which: pd.Series) -> float:
    """The length of the union of [sent, ended] of these requests, in seconds."""
    start, end = (requests.loc[which, name].to_numpy(float) for name in ("sent_at", "ended_at"))
    if not len(start):
        return 0.0
    if (start[1:] < start[:-1]).any():
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
    first_s = float(end[0] - start[0])
    reached = np.maximum.accumulate(end)[:-1]
    end = end[1:]
    return max(0.0, first_s) + float(np.clip(end - np.maximum(start[1:], reached), 0, None).sum())
