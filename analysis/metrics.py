"""What users got: latency, tokens, continuity, cuts, overhead. Each function's docstring is the metric's definition. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.windows import Trial
from contract.records import GATEWAY, Lane, Outcome

CUTS = (Outcome.CUT, Outcome.STALLED)
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
OVERLOADED_CPU_PERCENT = 80.0
OVERLOADED_LAG_MS = 10.0
BOOTSTRAPS = 2000


def quantiles(values: pd.Series) -> dict[str, float | None]:
    """p50, p95, p99 and the slowest; None where there is no value. A quantile is an observed value, none in between."""
    known = values.dropna()
    if known.empty:
        return dict.fromkeys([*QUANTILES, "max"])
    found: dict[str, float | None] = {"max": float(known.max())}
    return {name: float(known.quantile(q, interpolation="higher")) for name, q in QUANTILES.items()} | found


def latency_ms(asks: pd.DataFrame, of: str = "sent") -> pd.Series:
    """Of good answers: sent → the end of the exchange; or, of="intended", intended → the end.

    The second holds what an ask waited before it could be sent: a closed loop falls silent during a hang and hides it.
    """
    good = asks[asks["good"]]
    if of == "sent":
        return good["latency_ms"]
    return (good["ended_at"] - good["intended_at"]) * 1000


def ttft_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers: sent → first chunk with content (an empty role delta is not a token)."""
    return asks.loc[asks["good"] & asks["stream"], "ttft_ms"]


def tpot_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers of two tokens or more: (last − first content) / (output_tokens − 1)."""
    rows = asks[asks["good"] & asks["stream"] & (asks["output_tokens"].fillna(0) > 1)]
    whole = rows["gaps_ms"].map(lambda gaps: float(np.sum(gaps)))
    return (whole / (rows["output_tokens"].astype("float64") - 1)).astype("float64")


def latency_for_tokens_ms(asks: pd.DataFrame, tokens: int) -> tuple[pd.Series, bool]:
    """How long a good answer of so many tokens takes from sent to its end, and whether that is only estimated.

    Measured where answers of exactly so many tokens are there; else, for each streamed answer, its TTFT plus
    (tokens − 1) times its TPOT: estimated.
    """
    exact = asks[asks["good"] & (asks["output_tokens"] == tokens).fillna(False)]
    if len(exact):
        return exact["latency_ms"], False
    tpot = tpot_ms(asks)
    return (asks["ttft_ms"].reindex(tpot.index) + (tokens - 1) * tpot), True


def tokens_over_time(asks: pd.DataFrame, tiers: list[str], edges: np.ndarray) -> pd.DataFrame:
    """Throughput: output tokens a second between each two edges, per tier.

    An answer's tokens (cut ones' too) are spread evenly from its first token to its end; a plain answer's over its
    whole exchange. Answers whose usage nobody told are not in it.
    """
    out = {}
    for tier in tiers:
        rows = asks[(asks["tier"] == tier) & asks["output_tokens"].notna() & asks["ended_at"].notna()]
        start = rows["first_at"].where(rows["stream"], rows["sent_at"]).fillna(rows["sent_at"])
        end = np.maximum(rows["ended_at"].to_numpy(float), start.to_numpy(float) + 1e-3)
        tokens = rows["output_tokens"].to_numpy(dtype=float)
        out[tier] = np.diff(_spread(start.to_numpy(float), end, tokens, edges)) / np.diff(edges)
    return pd.DataFrame(out, index=edges[:-1])


def _spread(start: np.ndarray, end: np.ndarray, tokens: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Tokens that had come by each edge."""
    if not len(start):
        return np.zeros(len(edges))
    rate = tokens / (end - start)
    at = np.concatenate([start, end])
    change = np.concatenate([rate, -rate])
    order = np.argsort(at, kind="stable")
    at, slope = at[order], np.cumsum(change[order])
    came = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(at))])
    return np.interp(edges, at, came)


def tokens_per_s(asks: pd.DataFrame) -> float | None:
    """Output tokens of all answers ÷ the time in which at least one of these was under way (union of [sent, ended]).

    What a tier does while it has something to do, at the concurrency it met; None where no usage was told.
    """
    rows = asks[asks["output_tokens"].notna() & asks["ended_at"].notna() & asks["tier"].notna()]
    if rows.empty:
        return None
    rows = rows.sort_values("sent_at")
    start, end = rows["sent_at"].to_numpy(float), rows["ended_at"].to_numpy(float)
    reached = np.concatenate([[-np.inf], np.maximum.accumulate(end)[:-1]])
    busy_s = float(np.clip(end - np.maximum(start, reached), 0, None).sum())
    return float(rows["output_tokens"].sum()) / busy_s if busy_s > 0 else None


def users_asks(asks: pd.DataFrame) -> pd.DataFrame:
    """What stands for users: lane load, through the gateway."""
    return asks[(asks["lane"] == Lane.LOAD) & (asks["via"] == GATEWAY)]


@dataclass(frozen=True, slots=True)
class Continuity:
    """The parts of `continuity`."""

    good: int
    asked: int  # abandoned and cut ones are not among them
    cut: int
    abandoned: int

    @property
    def ratio(self) -> float | None:
        return self.good / self.asked if self.asked else None


def continuity(asks: pd.DataFrame) -> Continuity:
    """Good ÷ asked, over the users' asks through the gateway.

    Abandoned ones (we stopped waiting) and cut or stalled ones (no fallback mends a stream whose first token is out)
    are not among the asked; they are counted apart and shown.
    """
    users = users_asks(asks)
    cut = int(users["outcome"].isin(CUTS).sum())
    abandoned = int((users["outcome"] == Outcome.ABANDONED).sum())
    return Continuity(int(users["good"].sum()), len(users) - cut - abandoned, cut, abandoned)


def goodput(asks: pd.DataFrame, ttft_max_ms: float | None) -> float | None:
    """The share of the users' asks that were good and within the objective for TTFT; failures and cuts are misses.

    Abandoned ones are left out. None where nothing was asked.
    """
    users = users_asks(asks)
    users = users[users["outcome"] != Outcome.ABANDONED]
    if users.empty:
        return None
    within = users["good"] if ttft_max_ms is None else users["good"] & (users["ttft_ms"] <= ttft_max_ms)
    return float(within.mean())


def cuts(asks: pd.DataFrame, trial: Trial, trials: list[Trial]) -> pd.DataFrame:
    """The asks through the gateway that were cut or stalled by one trial of a step.

    They ended between its inject's begin and the next fault on its target (or the end of the run). Where several
    trials' times hold such an end, it belongs to those whose target gave the answer, or, where that is none of them,
    to each.
    """
    found = asks[(asks["via"] == GATEWAY) & asks["outcome"].isin(CUTS)]
    if trial.gone_from is None:
        return found.iloc[:0]

    def holds(one: Trial, at: float) -> bool:
        begun_at = one.begun_at if one.begun_at is not None else one.gone_from
        return begun_at is not None and begun_at <= at <= one.ends_at

    mine = []
    for at, tier in zip(found["ended_at"], found["tier"], strict=True):
        theirs = [t for t in trials if holds(t, at)]
        by_tier = [t for t in theirs if t.target == tier]
        mine.append(trial in (by_tier or theirs))
    return found[np.array(mine, dtype=bool)]


def cut_rate(asks: pd.DataFrame, start: float, end: float) -> tuple[int, int]:
    """(cut or stalled, all) of the asks through the gateway that were sent in this time; abandoned ones left out."""
    rows = asks[
        (asks["via"] == GATEWAY)
        & (asks["sent_at"] >= start)
        & (asks["sent_at"] < end)
        & (asks["outcome"] != Outcome.ABANDONED)
    ]
    return int(rows["outcome"].isin(CUTS).sum()), len(rows)


def overloaded_seconds(client: pd.DataFrame) -> pd.DataFrame:
    """Seconds in which the load generator itself was late: more than 80 % of its core, or a hub lag p99 over 10 ms."""
    return client[
        (client["cpu_percent"] > OVERLOADED_CPU_PERCENT) | (client["hub_lag_ms"] > OVERLOADED_LAG_MS)
    ]


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the gateway adds, of one length (`ttft_ms` or `latency_ms`)."""

    ms: float
    interval_ms: tuple[float, float]
    pairs: int


PAIR_COLUMNS = ["pair", "gateway_first", "ttft_ms", "latency_ms"]


def overhead_pairs(asks: pd.DataFrame, overloaded: pd.DataFrame) -> pd.DataFrame:
    """The pairs that count, with what the gateway took longer: mean of its asks less mean of the direct ones.

    A pair is all asks that share `pair` (two, or four as ABBA or BAAB), as many through the gateway as straight to a
    tier. It counts where every ask is good, one tier served all of them, no fallback and no retry was taken, and none
    was under way in a second in which the client was overloaded.
    """
    rows = asks[(asks["lane"] == Lane.OVERHEAD) & asks["pair"].notna()]
    late = overloaded["at"].to_numpy(float)  # each row tells of the second before it
    kept: list[Mapping[str, object]] = []
    for pair, group in rows.groupby("pair", sort=False):
        through = group["via"] == GATEWAY
        balanced = 2 * int(through.sum()) == len(group) and len(group) > 0
        detour = (group["route_fallbacks"].fillna(0) > 0) | (group["route_retries"].fillna(0) > 0)
        fit = balanced and group["good"].all() and group["tier"].nunique(dropna=False) == 1
        if not fit or detour.any():
            continue
        if ((late > group["sent_at"].min()) & (late - 1 < group["ended_at"].max())).any():
            continue
        first = group.sort_values("sent_at").iloc[0]
        more = {
            c: group.loc[through, c].mean() - group.loc[~through, c].mean() for c in ("ttft_ms", "latency_ms")
        }
        kept.append({"pair": pair, "gateway_first": first["via"] == GATEWAY, **more})
    return pd.DataFrame(kept, columns=PAIR_COLUMNS)


def overhead(pairs: pd.DataFrame, column: str, seed: int = 0) -> Overhead | None:
    """The median of the pairs' differences, with a seeded 95 % bootstrap interval.

    Taken for the two orders apart (gateway first, tier first) and averaged: whatever befalls the first ask of a pair
    (a cold cache, a connection that slept) then leaves the number, which a median over both orders together would not
    ensure. None where no pair counts.
    """
    known = pairs[pairs[column].notna()]
    halves = [
        h.to_numpy(float)
        for h in (known.loc[known["gateway_first"].eq(f), column] for f in (True, False))
        if len(h)
    ]
    if not halves:
        return None
    random = np.random.default_rng(seed)
    again = [np.median(random.choice(h, (BOOTSTRAPS, len(h))), axis=1) for h in halves]
    low, high = np.quantile(np.mean(again, axis=0), [0.025, 0.975])
    return Overhead(
        float(np.mean([np.median(h) for h in halves])), (float(low), float(high)), sum(map(len, halves))
    )
