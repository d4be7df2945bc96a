"""What users got: latency, tokens, continuity, goodput, cuts. Each function's docstring is the metric's definition. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.counted import counted
from analysis.gaps import Gaps
from analysis.parts import COLUMNS, Kind, Part, kinds, part_of, span
from analysis.windows import Trial
from contract import records
from contract.quantile import rank
from contract.records import GATEWAY, Lane, Outcome

CUTS = (Outcome.CUT, Outcome.STALLED)
PROBES = (Lane.PROBE_NEW, Lane.PROBE_KEPT)
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
CLUMPS_NEED = 20  # gaps
ANSWERS = 1_000_000  # whose tokens are spread over time at once


def quantiles(values: pd.Series) -> dict[str, float | None]:
    """p50, p95, p99 and the slowest; None where there is no value. What a quantile is: `contract.quantile.rank`."""
    known = values.to_numpy(float)
    known = known[~np.isnan(known)]
    if not len(known):
        return dict.fromkeys([*QUANTILES, "max"])
    ranks = _ranks(len(known))
    known.partition(ranks)
    return dict(zip([*QUANTILES, "max"], known[ranks].tolist(), strict=True))


def _ranks(n: int) -> list[int]:
    """Those of QUANTILES and of the slowest, from 0."""
    return [*(rank(n, q) for q in QUANTILES.values()), n - 1]


def quantile(values: np.ndarray, share: float) -> float:
    """One of them, of at least one value and none that is unknown."""
    at = rank(len(values), share)
    return float(np.partition(values, at)[at])


def latency_ms(asks: pd.DataFrame, of: str = "sent") -> pd.Series:
    """Of good answers: sent → the end of the exchange; or, of="intended", intended → the end.

    The second holds what an ask waited before it could be sent: a closed loop falls silent during a hang and hides it.
    """
    good = asks["good"]
    if of == "sent":
        return asks.loc[good, "latency_ms"]
    return (asks.loc[good, "ended_at"] - asks.loc[good, "intended_at"]) * 1000


def first_token_ms(asks: pd.DataFrame, of: str = "sent") -> pd.Series:
    """Of good answers: sent (or intended) → first chunk with content; of a plain answer, its whole body.

    A thought is no content: a reasoning model's first content comes when it has thought. One that shows no content has none,
    and is left out.
    """
    good = asks.loc[asks["good"] & asks["ttft_ms"].notna()]
    if of == "sent":
        return good["ttft_ms"]
    return good["ttft_ms"] + (good["sent_at"] - good["intended_at"]) * 1000


def until_first_ms(asks: pd.DataFrame) -> pd.Series:
    """Sent → the first token; of an answer that shows none, its end: sooner its user had nothing."""
    return asks["ttft_ms"].where(asks["ttft_ms"].notna(), asks["latency_ms"])


def ttft_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers: sent → first chunk with content (an empty role delta is not a token, a thought is no content).

    A reasoning model that spent its cap on thoughts which are not shown has no first chunk with content: such an answer is
    good, and has no TTFT, which is not 0.
    """
    return asks.loc[_streamed(asks), "ttft_ms"].dropna()


def first_thought_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers of reasoning models: sent → first chunk with thoughts; NaN of answers without any."""
    return asks.loc[_streamed(asks), "thought_ms"]


def _streamed(asks: pd.DataFrame) -> np.ndarray:
    """Which are good streamed answers."""
    return asks["good"].to_numpy(bool) & asks["stream"].to_numpy(bool)


def tpot_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers of two tokens or more: (last − first token) / (output_tokens − 1).

    Thoughts are tokens here, as they are in the usage. An answer that shows neither content nor thoughts has none.
    """
    shown = asks["ttft_ms"].notna().to_numpy() | asks["thought_ms"].notna().to_numpy()
    some = (asks["output_tokens"] > 1).to_numpy(bool, na_value=False) & shown
    rows = asks.loc[_streamed(asks) & some, ["gaps_ms", "output_tokens"]]
    gaps: Gaps = rows["gaps_ms"].array
    return pd.Series(gaps.sums() / (rows["output_tokens"].to_numpy(float) - 1), index=rows.index)


def chunk_gaps_ms(asks: pd.DataFrame) -> np.ndarray:
    """Of good streamed answers: the times between chunks with content or thoughts, all of them together.

    Of a long run these are hundreds of millions: who wants their quantiles asks `chunk_gaps`, which copies none.
    """
    return _gaps(asks).flat()


@dataclass(frozen=True, slots=True)
class ChunkGaps:
    """What `chunk_gaps_ms` are like."""

    n: int
    ms: dict[str, float | None]  # as of `quantiles`
    mean_ms: float | None
    clumped: bool | None
    steps: tuple[
        np.ndarray, np.ndarray
    ]  # in ms, to within a hundredth, and the share that is at most so long


def chunk_gaps(asks: pd.DataFrame) -> ChunkGaps:
    """How many chunk gaps there are, their quantiles (exact, however many), their mean, and whether chunks came in clumps."""
    gaps = _gaps(asks)
    found = counted(gaps.parts, lambda n: [*_ranks(n), (n - 1) // 2, n // 2])
    if not found.n:
        return ChunkGaps(0, dict.fromkeys([*QUANTILES, "max"]), None, None, found.steps)
    *at, below, above = found.at
    return ChunkGaps(
        found.n,
        dict(zip([*QUANTILES, "max"], at, strict=True)),
        found.mean,
        _clumped(found.n, (below + above) / 2, found.mean),
        found.steps,
    )


def _gaps(asks: pd.DataFrame) -> Gaps:
    return asks.loc[_streamed(asks), "gaps_ms"].array


def clumped(gaps_ms: np.ndarray) -> bool | None:
    """Whether chunks came in clumps: the median gap is below a tenth of the mean. None below twenty gaps.

    An engine that makes a token at a time has a median near its mean. Where several chunks arrive at once, most gaps
    are near nothing and the mean stays what it was: then the quantiles of gaps tell of the clumps, and not of tokens.
    """
    if len(gaps_ms) < CLUMPS_NEED:
        return None
    return _clumped(len(gaps_ms), float(np.median(gaps_ms)), float(gaps_ms.mean(dtype=np.float64)))


def _clumped(n: int, median_ms: float, mean_ms: float) -> bool | None:
    return None if n < CLUMPS_NEED else median_ms < mean_ms / 10


def who_clumps(asks: pd.DataFrame) -> str | None:
    """Whose doing the clumps are, in words; None where chunks do not come in clumps, or too few came.

    The engine's or the path's where they are there in asks that no overloaded second of the client touched: its hub was
    on time. The client's where they are seen in touched asks alone.
    """
    asks = asks[["good", "stream", "touched", "gaps_ms"]]
    touched = asks["touched"].to_numpy(bool)
    if chunk_gaps(asks[~touched]).clumped:
        return "the engine's or the path's doing: the client was on time"
    if chunk_gaps(asks[touched]).clumped:
        return "the client's doing: seen only while it was overloaded"
    return None


def latency_for_tokens_ms(asks: pd.DataFrame, tokens: int) -> tuple[pd.Series, bool]:
    """How long a good answer of so many tokens takes from sent to its end, and whether that is only estimated.

    Measured where answers of exactly so many tokens are there; else, for each streamed answer, the time to its first token
    (be it a thought) plus (tokens − 1) times its TPOT: estimated.
    """
    exact = asks["good"].to_numpy(bool) & (asks["output_tokens"] == tokens).to_numpy(bool, na_value=False)
    if exact.any():
        return asks.loc[exact, "latency_ms"], False
    tpot = tpot_ms(asks)
    rows = asks.loc[tpot.index]
    return (rows["first_at"] - rows["sent_at"]) * 1000 + (tokens - 1) * tpot, True


def tokens_over_time(asks: pd.DataFrame, tiers: list[str], edges: np.ndarray) -> pd.DataFrame:
    """Throughput: output tokens a second between each two edges, per tier.

    An answer's tokens (cut ones' too) are spread evenly from its first token to its end; a plain answer's, and one's that
    shows no token, over its whole exchange. Answers whose usage nobody told are not in it.
    """
    out = {}
    known = asks["output_tokens"].notna().to_numpy() & asks["ended_at"].notna().to_numpy()
    for tier in tiers:
        came = np.zeros(len(edges) - 1)
        which = np.flatnonzero(known & (asks["tier"] == tier).to_numpy())
        for i in range(0, len(which), ANSWERS):
            came += _tokens_between(asks[_SPREAD].iloc[which[i : i + ANSWERS]], edges)
        out[tier] = came / np.diff(edges)
    return pd.DataFrame(out, index=edges[:-1])


_SPREAD = ["sent_at", "ttft_ms", "ended_at", "stream", "output_tokens"]


def _tokens_between(answers: pd.DataFrame, edges: np.ndarray) -> np.ndarray:
    sent = answers["sent_at"].to_numpy(float)
    ttft_ms = answers["ttft_ms"].to_numpy(float)
    start = sent + np.where(answers["stream"].to_numpy(bool) & ~np.isnan(ttft_ms), ttft_ms, 0.0) / 1000
    end = np.maximum(answers["ended_at"].to_numpy(float), start + 1e-3)
    return _spread(start, end, answers["output_tokens"].to_numpy(float), edges)


def answers_over_time(asks: pd.DataFrame, tiers: list[str], edges: np.ndarray) -> pd.DataFrame:
    """Throughput: good answers a second between each two edges, per tier; an answer counts where it ended."""
    good = asks.loc[asks["good"] & asks["ended_at"].notna(), ["tier", "ended_at"]]
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
    )  # at an edge, how many tokens a second; in the time before it, how many
    for at, change in ((start, rate), (end, -rate)):
        until = np.searchsorted(edges, at)  # the first edge that is not before it
        within = until < n
        slope += np.bincount(until[within], change[within], n)
        rest_s = edges[until[within]] - at[within]
        came += np.bincount(until[within], change[within] * rest_s, n)
    return came[1:] + np.cumsum(slope)[:-1] * np.diff(edges)


def tokens_per_s(asks: pd.DataFrame) -> float | None:
    """Throughput: output tokens of all answers ÷ the time in which at least one of these was under way.

    What a tier does while it has something to do, at the concurrency it met; None where no usage was told.
    """
    told = asks["output_tokens"].notna() & asks["ended_at"].notna() & asks["tier"].notna()
    busy_s = _busy_s(asks, told)
    return float(asks.loc[told, "output_tokens"].sum()) / busy_s if busy_s > 0 else None


def answers_per_s(asks: pd.DataFrame) -> float | None:
    """Throughput: good answers ÷ the time in which at least one of them was under way; None where there is none."""
    ended = asks["good"] & asks["ended_at"].notna()
    busy_s = _busy_s(asks, ended)
    return int(ended.sum()) / busy_s if busy_s > 0 else None


def _busy_s(asks: pd.DataFrame, which: pd.Series) -> float:
    """The union of [sent, ended] of these asks."""
    start, end = (asks.loc[which, name].to_numpy(float) for name in ("sent_at", "ended_at"))
    if not len(start):
        return 0.0
    if (start[1:] < start[:-1]).any():
        order = np.argsort(start, kind="stable")
        start, end = start[order], end[order]
    first_s = float(end[0] - start[0])
    reached = np.maximum.accumulate(end)[:-1]
    end = end[1:]
    return max(0.0, first_s) + float(np.clip(end - np.maximum(start[1:], reached), 0, None).sum())


def users_asks(asks: pd.DataFrame) -> pd.DataFrame:
    """What stands for users: lane load, through the gateway."""
    users = of_users(asks)
    return asks if users.all() else asks[users]


def of_users(asks: pd.DataFrame) -> np.ndarray:
    """Which asks stand for users."""
    return records.of_users(asks["lane"], asks["via"]).to_numpy(bool)


@dataclass(frozen=True, slots=True)
class Share:
    """Hits of asked. `doubtful`: misses that an overloaded load generator may have made, and nobody else."""

    hits: int
    asked: int
    doubtful: int = 0

    @property
    def ratio(self) -> float | None:
        return self.hits / self.asked if self.asked else None

    @property
    def at_most(self) -> float | None:
        """The ratio if every doubtful miss was the load generator's own."""
        return (self.hits + self.doubtful) / self.asked if self.asked else None


@dataclass(frozen=True, slots=True)
class Continuity:
    """The parts of `continuity`."""

    good: Share
    cut: int
    stalled: int
    abandoned: int


def continuity(asks: pd.DataFrame) -> Continuity:
    """Good ÷ asked, over the users' asks through the gateway.

    Abandoned ones (we stopped waiting), and cut and stalled ones (no fallback mends a stream whose first token is out)
    are not among the asked; they are counted apart and shown. Timeouts in seconds in which the client was overloaded are
    doubtful: it may not have looked in time. Every other failure is one, whatever the client was doing.
    """
    users = users_asks(asks[["lane", "via", "outcome", "good", "touched"]])
    count = {o: int((users["outcome"] == o).sum()) for o in (*CUTS, Outcome.ABANDONED)}
    doubtful = int(((users["outcome"] == Outcome.TIMEOUT) & users["touched"]).sum())
    asked = len(users) - sum(count.values())
    return Continuity(Share(int(users["good"].sum()), asked, doubtful), *count.values())


def within(asks: pd.DataFrame, ttft_max_ms: float | None) -> pd.Series:
    """Good, and within the objective for TTFT where there is one (of a plain answer: its whole body; of one that shows no
    token: its end).

    Of a scenario that is unattended an answer has only to be good: no person waits for its first token.
    """
    if ttft_max_ms is None:
        return asks["good"]
    hit = asks["good"] & (until_first_ms(asks) <= ttft_max_ms)
    if "unattended" not in asks.columns:  # see `for_within`
        return hit
    return hit | (asks["good"] & asks["unattended"])


def for_within(asks: pd.DataFrame, columns: list[str]) -> list[str]:
    """These columns, and `unattended` where the run has such asks."""
    return [*columns, "unattended"] if "unattended" in asks.columns else columns


def goodput(asks: pd.DataFrame, ttft_max_ms: float | None) -> Share:
    """The users' asks that were good and within the objectives, of all that they asked; failures and cuts are misses.

    Documents that are classified have no objective for TTFT: they only have to be answered well.
    Abandoned ones are left out. Misses by slowness, timeouts and stalls in seconds in which the client was overloaded
    are doubtful.
    """
    columns = ["lane", "via", "outcome", "good", "ttft_ms", "latency_ms", "touched"]
    users = users_asks(asks[for_within(asks, columns)])
    asked = users["outcome"] != Outcome.ABANDONED
    hit = within(users, ttft_max_ms)
    late = users["good"] | users["outcome"].isin((Outcome.TIMEOUT, Outcome.STALLED))
    return Share(
        int((hit & asked).sum()), int(asked.sum()), int((asked & ~hit & late & users["touched"]).sum())
    )


def cuts(asks: pd.DataFrame, trial: Trial, trials: list[Trial]) -> pd.DataFrame:
    """The asks through the gateway that were cut or stalled by one trial of a step.

    They ended in its time (`in_trial`). Where several trials' times hold such an end, it belongs to those whose target gave
    the answer, or, where that is none of them, to each.
    """
    if trial.gone_from is None:
        return asks.iloc[:0]
    found = asks[(asks["via"] == GATEWAY) & asks["outcome"].isin(CUTS)]
    at = found["ended_at"].to_numpy(float)
    mine = _holds(trial, at)
    if not mine.any():
        return found.iloc[:0]
    # Another trial's claim goes before this one's where its target gave the answer.
    by_another = np.zeros(len(found), dtype=bool)
    for other in trials:
        begun_at = _begun_at(other)
        if begun_at is not None and begun_at <= trial.ends_at and other.ends_at >= at[mine].min():
            by_another |= _holds(other, at) & (found["tier"] == other.target).to_numpy(bool)
    return found[mine & ((found["tier"] == trial.target).to_numpy(bool) | ~by_another)]


def in_trial(asks: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """The requests of a trial's time: they ended between its inject's begin and the next fault on its target, or the run's end.

    So one that was sent before the fault and cut, failed or held up by it is among them.
    """
    return asks[_holds(trial, asks["ended_at"].to_numpy(float))]


def _begun_at(trial: Trial) -> float | None:
    return trial.begun_at if trial.begun_at is not None else trial.gone_from


def _holds(trial: Trial, at: np.ndarray) -> np.ndarray:
    """Which of these ends are in the trial's time."""
    begun_at = _begun_at(trial)
    return np.zeros(len(at), bool) if begun_at is None else (at >= begun_at) & (at <= trial.ends_at)


def cut_rates(asks: pd.DataFrame, parts: Sequence[Part]) -> dict[Kind, tuple[int, int]]:
    """(cut or stalled, all) of the requests through the gateway, for each kind of part that the run has; abandoned ones left out.

    Where a request counts: `parts.part_of`.
    """
    rows = asks[["via", *COLUMNS]]
    rows = rows[(rows["via"] == GATEWAY) & (rows["outcome"] != Outcome.ABANDONED)]
    part = part_of(parts, *span(rows))
    cut = np.bincount(part[rows["outcome"].isin(CUTS).to_numpy(bool)], minlength=len(parts))
    every = np.bincount(part, minlength=len(parts))
    return {
        kind: (
            sum(int(n) for n, one in zip(cut, parts, strict=True) if one.kind is kind),
            sum(int(n) for n, one in zip(every, parts, strict=True) if one.kind is kind),
        )
        for kind in kinds(parts)
    }
