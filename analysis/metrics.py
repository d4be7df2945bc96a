"""What users got: latency, tokens, continuity, goodput, cuts. Each function's docstring is the metric's definition. Pure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.windows import Trial
from contract.records import GATEWAY, Lane, Outcome

CUTS = (Outcome.CUT, Outcome.STALLED)
PROBES = (Lane.PROBE_NEW, Lane.PROBE_KEPT)
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
CLUMPS_NEED = 20  # gaps


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


def first_token_ms(asks: pd.DataFrame, of: str = "sent") -> pd.Series:
    """Of good answers: sent (or intended) → first chunk with content; of a plain answer, its whole body."""
    good = asks[asks["good"]]
    return good["ttft_ms"] if of == "sent" else (good["first_at"] - good["intended_at"]) * 1000


def ttft_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers: sent → first chunk with content (an empty role delta is not a token)."""
    return asks.loc[asks["good"] & asks["stream"], "ttft_ms"]


def tpot_ms(asks: pd.DataFrame) -> pd.Series:
    """Of good streamed answers of two tokens or more: (last − first content) / (output_tokens − 1)."""
    rows = asks[asks["good"] & asks["stream"] & (asks["output_tokens"].fillna(0) > 1)]
    gaps_ms = rows["gaps_ms"].tolist()
    ends = np.cumsum(np.fromiter(map(len, gaps_ms), int, len(gaps_ms)))
    came_ms = np.concatenate([[0.0], np.cumsum(np.concatenate([np.zeros(0), *gaps_ms]))])
    whole = pd.Series(np.diff(came_ms[ends], prepend=0.0), index=rows.index)
    return (whole / (rows["output_tokens"].astype("float64") - 1)).astype("float64")


def chunk_gaps_ms(asks: pd.DataFrame) -> np.ndarray:
    """Of good streamed answers: the times between chunks with content, all of them together."""
    rows = asks.loc[asks["good"] & asks["stream"], "gaps_ms"]
    return np.concatenate([np.zeros(0), *rows.tolist()])


def clumped(gaps_ms: np.ndarray) -> bool | None:
    """Whether chunks came in clumps: the median gap is below a tenth of the mean. None below twenty gaps.

    An engine that makes a token at a time has a median near its mean. Where several chunks arrive at once, most gaps
    are near nothing and the mean stays what it was: then the quantiles of gaps tell of the clumps, and not of tokens.
    """
    if len(gaps_ms) < CLUMPS_NEED:
        return None
    return bool(np.median(gaps_ms) < gaps_ms.mean() / 10)


def who_clumps(asks: pd.DataFrame) -> str | None:
    """Whose doing the clumps are, in words; None where chunks do not come in clumps, or too few came.

    The engine's or the path's where they are there in asks that no overloaded second of the client touched: its hub was
    on time. The client's where they are seen in touched asks alone.
    """
    fit = clumped(chunk_gaps_ms(asks[~asks["touched"]]))
    if fit:
        return "the engine's or the path's doing: the client was on time"
    if clumped(chunk_gaps_ms(asks[asks["touched"]])):
        return "the client's doing: seen only while it was overloaded"
    return None


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


def answers_over_time(asks: pd.DataFrame, tiers: list[str], edges: np.ndarray) -> pd.DataFrame:
    """Throughput: good answers a second between each two edges, per tier; an answer counts where it ended."""
    good = asks[asks["good"] & asks["ended_at"].notna()]
    out = {}
    for tier in tiers:
        ended_at = good.loc[good["tier"] == tier, "ended_at"].to_numpy(float)
        out[tier] = np.histogram(ended_at, edges)[0] / np.diff(edges)
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
    """Throughput: output tokens of all answers ÷ the time in which at least one of these was under way.

    What a tier does while it has something to do, at the concurrency it met; None where no usage was told.
    """
    rows = asks[asks["output_tokens"].notna() & asks["ended_at"].notna() & asks["tier"].notna()]
    busy_s = _busy_s(rows)
    return float(rows["output_tokens"].sum()) / busy_s if busy_s > 0 else None


def answers_per_s(asks: pd.DataFrame) -> float | None:
    """Throughput: good answers ÷ the time in which at least one of them was under way; None where there is none."""
    rows = asks[asks["good"] & asks["ended_at"].notna()]
    busy_s = _busy_s(rows)
    return len(rows) / busy_s if busy_s > 0 else None


def _busy_s(rows: pd.DataFrame) -> float:
    """The union of [sent, ended]."""
    rows = rows.sort_values("sent_at")
    start, end = rows["sent_at"].to_numpy(float), rows["ended_at"].to_numpy(float)
    reached = np.concatenate([[-np.inf], np.maximum.accumulate(end)[:-1]]) if len(rows) else start
    return float(np.clip(end - np.maximum(start, reached), 0, None).sum())


def users_asks(asks: pd.DataFrame) -> pd.DataFrame:
    """What stands for users: lane load, through the gateway."""
    return asks[(asks["lane"] == Lane.LOAD) & (asks["via"] == GATEWAY)]


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
    users = users_asks(asks)
    count = {o: int((users["outcome"] == o).sum()) for o in (*CUTS, Outcome.ABANDONED)}
    doubtful = int(((users["outcome"] == Outcome.TIMEOUT) & users["touched"]).sum())
    asked = len(users) - sum(count.values())
    return Continuity(Share(int(users["good"].sum()), asked, doubtful), *count.values())


def within(asks: pd.DataFrame, ttft_max_ms: float | None) -> pd.Series:
    """Good, and within the objective for TTFT where there is one (of a plain answer: its whole body)."""
    return asks["good"] if ttft_max_ms is None else asks["good"] & (asks["ttft_ms"] <= ttft_max_ms)


def goodput(asks: pd.DataFrame, ttft_max_ms: float | None) -> Share:
    """The users' asks that were good and within the objectives, of all that they asked; failures and cuts are misses.

    Abandoned ones are left out. Misses by slowness, timeouts and stalls in seconds in which the client was overloaded
    are doubtful.
    """
    users = users_asks(asks)
    users = users[users["outcome"] != Outcome.ABANDONED]
    hit = within(users, ttft_max_ms)
    late = users["good"] | users["outcome"].isin((Outcome.TIMEOUT, Outcome.STALLED))
    return Share(int(hit.sum()), len(users), int((~hit & late & users["touched"]).sum()))


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
