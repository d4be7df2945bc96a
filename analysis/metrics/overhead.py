"""The gateway's overhead: measured from paired requests, and as reported by the gateway's own header. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from contract.records import GATEWAY, Lane

BOOTSTRAPS = 2000
COLUMNS = [
    "sent_at", "via", "pair", "good", "tier", "touched", "route_fallbacks", "route_retries", "ttft_ms", "latency_ms",
]  # fmt: skip
PAIR_COLUMNS = ["pair", "gateway_first", "ttft_ms", "latency_ms"]


@dataclass(frozen=True, slots=True)
class Overhead:
    """The gateway's overhead on one length (`ttft_ms` or `latency_ms`)."""

    ms: float
    interval_ms: tuple[float, float]
    pairs: int


def pairs_of(requests: pd.DataFrame) -> pd.DataFrame:
    """The pairs that count, with their overhead: mean of the requests through the gateway minus mean of the direct ones.

    A pair is all requests that share `pair` (two, or four as ABBA or BAAB), as many through the gateway as directly to a
    tier. It counts if every request is good, one tier served all of them, there was no fallback and no retry, and none
    was under way in a second in which the client was overloaded.
    """
    rows = requests[COLUMNS][(requests["lane"] == Lane.OVERHEAD) & requests["pair"].notna()]
    rows = rows.sort_values("sent_at", kind="stable")
    if rows.empty:
        return pd.DataFrame(columns=PAIR_COLUMNS)
    through = rows["via"] == GATEWAY
    detour = (rows["route_fallbacks"].fillna(0) > 0) | (rows["route_retries"].fillna(0) > 0)
    rows = rows.assign(through=through, unfit=~rows["good"] | rows["touched"] | detour)
    by_pair = rows.groupby("pair", sort=False)
    count, gateways = by_pair.size(), by_pair["through"].sum()
    fit = (2 * gateways == count) & ~by_pair["unfit"].any() & (by_pair["tier"].nunique(dropna=False) == 1)
    lengths = ["ttft_ms", "latency_ms"]
    more = (
        rows[rows["through"]].groupby("pair")[lengths].mean()
        - rows[~rows["through"]].groupby("pair")[lengths].mean()
    )
    kept = more.reindex(fit[fit].index)
    kept.insert(0, "gateway_first", by_pair["through"].first().reindex(kept.index))
    return kept.rename_axis("pair").reset_index()


def overhead(pairs: pd.DataFrame, column: str, seed: int = 0) -> Overhead | None:
    """The median of the pairs' differences, with a seeded 95 % bootstrap interval.

    Computed separately for the two orders (gateway first, tier first) and averaged. This cancels effects on the first request of
    a pair (a cold cache, an idle connection), which a median over both orders together would not. None if no pair counts.
    """
    halves = _halves(pairs, column)
    if not halves:
        return None
    low, high = np.quantile(resampled_medians(pairs, column, seed), [0.025, 0.975])
    return Overhead(
        float(np.mean([np.median(h) for h in halves])), (float(low), float(high)), sum(map(len, halves))
    )


def resampled_medians(pairs: pd.DataFrame, column: str, seed: int = 0) -> np.ndarray:
    """The bootstrap of the interval: the same number for 2000 resamples of the pairs, each order separately."""
    random = np.random.default_rng(seed)
    again = [_medians(h, random) for h in _halves(pairs, column)]
    return np.asarray(np.mean(again, axis=0))


def _halves(pairs: pd.DataFrame, column: str) -> list[np.ndarray]:
    """The differences of the pairs with the gateway first, and of those with the tier first; empty ones left out."""
    known = pairs[pairs[column].notna()]
    return [
        h.to_numpy(float)
        for h in (known.loc[known["gateway_first"].eq(f), column] for f in (True, False))
        if len(h)
    ]


def _medians(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The medians of BOOTSTRAPS resamples, some at a time: for a long run all of them together need gigabytes."""
    at_once = max(2, 2**24 // len(values) // 2 * 2)
    parts = [min(at_once, BOOTSTRAPS - i) for i in range(0, BOOTSTRAPS, at_once)]
    return np.concatenate([np.median(random.choice(values, (n, len(values))), axis=1) for n in parts])


def header_ms(requests: pd.DataFrame, pairs: pd.DataFrame) -> float | None:
    """The overhead by the gateway's own header: its median over the gateway's requests of the pairs that count, in ms.

    It is not the overhead: x-litellm-overhead-duration-ms shows about half of what is measured (53 to 58 % with LiteLLM
    1.106), includes the back-off of retries, and missed a hang of 3 s. It is shown beside the measured value and not judged.
    None if no such header came.
    """
    if "route_overhead_ms" not in requests.columns:
        return None
    with_header = requests.loc[requests["route_overhead_ms"].notna(), ["pair", "via", "route_overhead_ms"]]
    ms = with_header.loc[
        with_header["pair"].isin(pairs["pair"]) & (with_header["via"] == GATEWAY), "route_overhead_ms"
    ]
    return float(ms.median()) if len(ms) else None
