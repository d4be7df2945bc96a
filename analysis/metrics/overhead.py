"""What the gateway adds: measured from paired requests, and beside it what the gateway says of itself. Pure."""

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
    """What the gateway adds, of one length (`ttft_ms` or `latency_ms`)."""

    ms: float
    interval_ms: tuple[float, float]
    pairs: int


def pairs_of(requests: pd.DataFrame) -> pd.DataFrame:
    """The pairs that count, with what the gateway took longer: mean of its requests less mean of the direct ones.

    A pair is all requests that share `pair` (two, or four as ABBA or BAAB), as many through the gateway as straight to a
    tier. It counts where every request is good, one tier served all of them, no fallback and no retry was taken, and none
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

    Taken for the two orders apart (gateway first, tier first) and averaged: whatever befalls the first request of a pair
    (a cold cache, a connection that slept) then leaves the number, which a median over both orders together would not
    ensure. None where no pair counts.
    """
    halves = _halves(pairs, column)
    if not halves:
        return None
    low, high = np.quantile(medians_again(pairs, column, seed), [0.025, 0.975])
    return Overhead(
        float(np.mean([np.median(h) for h in halves])), (float(low), float(high)), sum(map(len, halves))
    )


def medians_again(pairs: pd.DataFrame, column: str, seed: int = 0) -> np.ndarray:
    """That number when as many pairs are drawn again, of each order apart, 2000 times: the bootstrap of the interval."""
    random = np.random.default_rng(seed)
    again = [_medians(h, random) for h in _halves(pairs, column)]
    return np.asarray(np.mean(again, axis=0))


def _halves(pairs: pd.DataFrame, column: str) -> list[np.ndarray]:
    """The differences of the pairs with the gateway first, and of those with the tier first; none that is empty."""
    known = pairs[pairs[column].notna()]
    return [
        h.to_numpy(float)
        for h in (known.loc[known["gateway_first"].eq(f), column] for f in (True, False))
        if len(h)
    ]


def _medians(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Of as many values drawn again and again, some draws at a time: those of a long run together need gigabytes."""
    at_once = max(2, 2**24 // len(values) // 2 * 2)
    parts = [min(at_once, BOOTSTRAPS - i) for i in range(0, BOOTSTRAPS, at_once)]
    return np.concatenate([np.median(random.choice(values, (n, len(values))), axis=1) for n in parts])


def said_ms(requests: pd.DataFrame, pairs: pd.DataFrame) -> float | None:
    """What the gateway says of itself: the median of its own header over the gateway's requests of the pairs that count.

    Not the overhead: x-litellm-overhead-duration-ms shows about half of what is measured (53 to 58 % with LiteLLM
    1.106), holds the back-off of retries, and missed a hang of 3 s. It is shown beside the measured one, and nothing is
    judged by it. None where no such header came.
    """
    if "route_overhead_ms" not in requests.columns:
        return None
    told = requests.loc[requests["route_overhead_ms"].notna(), ["pair", "via", "route_overhead_ms"]]
    ms = told.loc[told["pair"].isin(pairs["pair"]) & (told["via"] == GATEWAY), "route_overhead_ms"]
    return float(ms.median()) if len(ms) else None
