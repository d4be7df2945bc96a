"""The numbers of each tier that every page shows, computed once. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.metrics import chunks, latency, quantiles, rates, shares
from analysis.metrics.windows import Trial
from contract.records import GATEWAY
from contract.topology import Tier

COLUMNS = [
    "lane", "via", "tier", "stream", "good", "touched", "scheduled_at", "sent_at", "first_at", "ended_at", "ttft_ms",
    "thought_ms", "latency_ms", "output_tokens", "gaps_ms",
]  # fmt: skip
TOKENS = 10  # the answer length for which a tier's latency is shown

Quantiles = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class OfUsers:
    """The users' requests that one tier answered (lane load, through the gateway). Lengths in ms; quantiles of good answers."""

    good: int
    latency: Quantiles  # from sent
    latency_from_schedule: Quantiles
    ttft: Quantiles
    streamed: int  # answers that `ttft` rests on
    thought: Quantiles  # the first thought; all None without reasoning models
    thoughtful: int  # answers that `thought` rests on
    chunk_gap: Quantiles
    gaps: int
    tpot: Quantiles
    timed: int  # answers that `tpot` rests on
    tokens_per_s: float | None
    answers_per_s: float | None
    within: int  # of the good ones, within the objectives


@dataclass(frozen=True, slots=True)
class OfTier:
    """One tier in one run."""

    tier: Tier
    latency: Quantiles  # of an answer of TOKENS tokens, from all lanes and ways
    latency_n: int
    latency_estimated: bool
    tokens_per_s: float | None  # of all lanes and ways
    through: int  # good answers through the gateway
    direct: int  # good answers straight from it
    left: str | None  # a fault on it was begun, and no restore verified: the note to show
    clumps: str | None  # what caused its chunks to come in clumps; None: they did not
    users: OfUsers


def of_tiers(
    requests: pd.DataFrame, tiers: Sequence[Tier], trials: Sequence[Trial], ttft_max_ms: float | None
) -> list[OfTier]:
    """Every tier, in the order in which the gateway falls through them."""
    requests = requests[shares.for_within(requests, COLUMNS)]
    users = shares.of_users(requests)
    found = []
    for tier in tiers:
        mine = (requests["tier"] == tier.name).to_numpy(bool)
        left = _left([t for t in trials if t.target == tier.name])
        by_users = _of_users(
            requests[users & mine], ttft_max_ms
        )  # before the others are taken too: they may be many
        found.append(_of_tier(tier, requests[mine], by_users, left))
    return found


def _left(trials: Sequence[Trial]) -> str | None:
    open_ = [t for t in trials if t.begun_at is not None and t.restored_at is None]
    if not open_:
        return None
    known = all(t.foreign or (t.ready_at is not None and t.refused is None) for t in open_)
    return "not verified to be restored" if known else "not restored"


def _of_tier(tier: Tier, requests: pd.DataFrame, users: OfUsers, left: str | None) -> OfTier:
    values, estimated = latency.latency_for_tokens_ms(requests, TOKENS)
    good_via = requests.loc[requests["good"], "via"]
    return OfTier(
        tier=tier,
        latency=quantiles.quantiles(values),
        latency_n=int(values.notna().sum()),
        latency_estimated=estimated,
        tokens_per_s=rates.tokens_per_s(requests),
        through=int((good_via == GATEWAY).sum()),
        direct=int((good_via == tier.name).sum()),
        left=left,
        clumps=chunks.clumping_cause(requests),
        users=users,
    )


def _known(values: pd.Series) -> tuple[dict[str, float | None], int]:
    """The quantiles and the number of known values."""
    return quantiles.quantiles(values), int(values.notna().sum())


def _of_users(requests: pd.DataFrame, ttft_max_ms: float | None) -> OfUsers:
    # One series at a time to save memory: each has a number for every request.
    ttft, streamed = _known(latency.ttft_ms(requests))
    tpot, timed = _known(latency.tpot_ms(requests))
    thought, thoughtful = _known(latency.first_thought_ms(requests))
    gaps = chunks.chunk_gaps(requests)
    return OfUsers(
        good=int(requests["good"].sum()),
        latency=quantiles.quantiles(latency.latency_ms(requests)),
        latency_from_schedule=quantiles.quantiles(latency.latency_ms(requests, of="scheduled")),
        ttft=ttft,
        streamed=streamed,
        thought=thought,
        thoughtful=thoughtful,
        chunk_gap=gaps.ms,
        gaps=gaps.n,
        tpot=tpot,
        timed=timed,
        tokens_per_s=rates.tokens_per_s(requests),
        answers_per_s=rates.answers_per_s(requests),
        within=int(shares.within(requests, ttft_max_ms).sum()),
    )
