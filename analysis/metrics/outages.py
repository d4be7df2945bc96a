"""The effects of one fault on users: failover, detection, gap, recovery. Each docstring is the definition. Pure.

Requests are sorted by the time they were sent (see `frames`); lengths are in seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.metrics.quantiles import quantile
from analysis.metrics.target_loss import SILENT, given_beside, given_by
from analysis.metrics.windows import Trial, phases_of
from contract.ranks import Ranks, above
from contract.records import GATEWAY

IN_A_ROW = 3  # good answers until it counts as back


@dataclass(frozen=True, slots=True)
class Length:
    """Seconds; `censored`: at least this long, its end was not seen."""

    s: float
    censored: bool = False
    record: str | None = None  # the request that ended it
    at: float | None = None  # when it ended
    sent_at: float | None = None  # when that request was sent
    scenario: str | None = None  # of that request


@dataclass(frozen=True, slots=True)
class Gap:
    """The time without good answers in one lane, bounded by requests; an upper bound of None: its end was not seen."""

    lane: str
    lower_s: float
    upper_s: float | None


def failover(requests: pd.DataFrame, covered: pd.DataFrame, trial: Trial, lost_at: float, to: str) -> Length:
    """Lost → first token of the first good answer by the tier `to`, to a request through the gateway from lost on.

    For an answer that shows no token (a reasoning model that spent its cap on thoughts) its end is used as its first token, here
    and in the other definitions: a token existed by then, and there is no earlier evidence.

    From lost on: sent at or after it (the request that is itself the evidence counts: its user waited from lost on), or
    covering a slot of the probe that was scheduled then, over its limit in flight. Another request sent before lost does not count,
    no matter which tier answered it. Censored if no such answer came before the restore was verified. It rests on requests that no
    overloaded second of their load generator touches (`overload.touched`). It is unknown if for too long before the request that
    ended it only touched requests were sent (`overload.rests_on_overload`).
    """
    answers = _sent_from(requests, covered, trial, lost_at)
    found = _earliest(
        requests, answers & (requests["tier"] == to) & (requests["first_at"] <= trial.gone_until)
    )
    if found is None:
        return Length(max(0.0, trial.gone_until - lost_at), censored=True)
    return as_length(found, lost_at)


def as_length(record: pd.Series, since: float) -> Length:
    """From an instant to this request's first token."""
    first_at = float(record["first_at"])
    return Length(
        first_at - since,
        False,
        str(record["request_id"]),
        first_at,
        float(record["sent_at"]),
        str(record["scenario"]),
    )


def calm_ttft_s(requests: pd.DataFrame, trials: list[Trial], tier: str, scenario: str) -> float | None:
    """The tier's calm time to a first token: the median of its good streamed answers away from faults, in seconds.

    Only requests of one scenario count, since a long prompt takes longer. Away from faults: sent while no fault was being injected
    or restored (transition, restoring). A tier that serves only while a higher one is gone is calm once that fault is in effect.
    None if there is no such answer.
    """
    which = requests["good"] & requests["stream"] & (requests["tier"] == tier) & ~requests["touched"]
    rows = requests.loc[which & (requests["scenario"] == scenario), ["sent_at", "first_at"]]
    at = rows["sent_at"].to_numpy(float)
    away = np.ones(len(rows), dtype=bool)
    for t in trials:
        for phase in phases_of(t):
            if phase.name in ("transition", "restoring"):
                first, last = np.searchsorted(at, [phase.start, phase.end])
                away[first:last] = False
    first_s = _until_first_s(rows[away])
    return float(first_s.median()) if len(first_s) else None


def detection(took: Length, calm_s: float | None) -> float | None:
    """How long it took to switch to the next tier: the failover minus that tier's calm time to a first token.

    0 if the first answer came sooner than its tier's calm median. None if the failover is censored, or if the calm time is
    unknown.
    """
    return None if took.censored or calm_s is None else max(0.0, took.s - calm_s)


def detection_by_ledger(took: Length, lost_at: float, ledger: pd.DataFrame | None) -> float | None:
    """The same by the engine's ledger: lost → the arrival of the request that ended the failover at its tier.

    0 if it arrived before (a request that covers a slot was already on its way). None if there is no ledger (only embedded
    engines keep one), or the request is not in it.
    """
    if ledger is None:
        return None
    at = ledger.loc[ledger["nonce"] == took.record, "arrived_at"]
    return max(0.0, float(at.iloc[-1]) - lost_at) if len(at) else None


def was_in_use(requests: pd.DataFrame, trial: Trial, ranks: Ranks) -> bool | None:
    """Whether the gateway used the target when the fault was commanded: it, or a peer, gave the last good answer before.

    If the target is the gateway: whether it gave any good answer before.

    If it was not in use (because of the cooldown of an earlier fault, for example), the tier that answered continued to, and
    there was no failover. None: there was no good answer before.
    """
    if trial.gone_from is None:
        return None
    before = requests.loc[
        (requests["via"] == GATEWAY) & requests["good"] & (requests["first_at"] < trial.gone_from)
    ]
    return None if before.empty else bool(given_beside(before.iloc[-1:], trial.target, ranks).iloc[0])


def first_answer(
    requests: pd.DataFrame, covered: pd.DataFrame, trial: Trial, lost_at: float
) -> pd.Series | None:
    """Of the requests that `failover` considers: the good answer by any tier whose first token came first."""
    return _earliest(
        requests, _sent_from(requests, covered, trial, lost_at) & (requests["sent_at"] <= trial.ends_at)
    )


def _earliest(requests: pd.DataFrame, which: pd.Series) -> pd.Series | None:
    """Of these requests the one whose first token came first."""
    at = requests["first_at"].to_numpy(float)
    rows = np.flatnonzero(which.to_numpy(bool) & ~np.isnan(at))
    return requests.iloc[int(rows[at[rows].argmin()])] if len(rows) else None


def _sent_from(requests: pd.DataFrame, covered: pd.DataFrame, trial: Trial, lost_at: float) -> pd.Series:
    """Mask: the good answers through the gateway to requests from lost on.

    Of requests that cover a slot and were sent before, those answered by the faulted tier do not count: it still served them.
    """
    covering = covered.loc[covered["scheduled_at"] >= lost_at, "covered_by"]
    late = requests["sent_at"] >= lost_at
    if len(covering):
        late |= requests["request_id"].isin(covering) & ~given_by(requests, trial.target)
    return (requests["via"] == GATEWAY) & requests["good"] & (requests["first_at"] >= lost_at) & late


def failover_gap(requests: pd.DataFrame, trial: Trial, lost_at: float, lane: str, ranks: Ranks) -> Gap | None:
    """How long a lane of the probe had no good answer: last good one before lost → first of three consecutive good after.

    The lane's own loss is its first request that at lost was still waiting, or was sent later, and that got no good answer by the
    faulted tier (a kept connection may be served longer than a new one) or by a peer of it.

    Upper bound: the last good request before that one was sent → first token of the first of three consecutive good answers from
    there on; service was seen at both. Lower bound: the lane's loss was sent, or lost if that is later → the last failed request
    before the three was sent; or, if the first of the three waited longer than 95 % of that tier's answers to later requests, its
    first token minus that time.

    None: the lane lost no request, or had no good answer before. An upper bound of None: three in a row were not seen. It rests on
    the probe alone, so overload of the load generator does not affect it. A stalled probe, or the uncertainty of several machines'
    clocks, moves the bounds apart.
    """
    rows = requests[
        (requests["lane"] == lane)
        & (requests["via"] == GATEWAY)
        & requests["sent_at"].between(-np.inf, trial.ends_at)
        & ~requests["outcome"].isin(SILENT)
    ]
    waiting = (rows["first_at"].fillna(rows["ended_at"]) >= lost_at) | (rows["sent_at"] >= lost_at)
    missed = rows[waiting & ~(rows["good"] & given_beside(rows, trial.target, ranks))]
    if missed.empty:
        return None
    own_lost = float(missed["sent_at"].iloc[0])
    if own_lost > trial.gone_until:  # later failures are not caused by this fault
        return None
    before = rows[(rows["sent_at"] < own_lost) & rows["good"]]
    if before.empty:
        return None
    last_good_at = float(before["sent_at"].iloc[-1])
    after = rows[rows["sent_at"] >= own_lost]
    silent_from = max(own_lost, lost_at)
    back = first_in_a_row(after["good"].to_numpy(dtype=bool))
    if back is None:
        failed = after.loc[~after["good"], "sent_at"]
        lower_s = float(failed.iloc[-1]) - silent_from if len(failed) else 0.0
        return Gap(lane, max(0.0, lower_s - clocks_s(requests)), None)
    record, earlier = after.iloc[back], after.iloc[:back]
    failed = earlier.loc[~earlier["good"], "sent_at"]
    silent_until = float(failed.iloc[-1]) if len(failed) else own_lost
    first_at = float(record["first_at"])
    calm_s = _calm_s(rows[rows["sent_at"] > first_at], str(record["tier"]))
    if calm_s is not None and first_at - calm_s > float(record["sent_at"]):
        silent_until = max(silent_until, first_at - calm_s)
    # The lower bound may begin at a worker's request that showed the loss; the upper one is between two of the lane's own.
    lower_s = silent_until - silent_from - clocks_s(requests)
    return Gap(lane, max(0.0, lower_s), first_at - last_good_at + clocks_s(rows))


def clocks_s(requests: pd.DataFrame) -> float:
    """How far the times of these requests may be off against one another, ± seconds.

    The largest uncertainty of a worker's clock among them; 0 if all are of one machine. A clock that was not measured is handled
    by `verdict.run_state`, which then does not pass.
    """
    known = requests["clock_uncertainty_s"].dropna()
    return float(known.max()) if len(known) else 0.0


def recovery(requests: pd.DataFrame, trial: Trial, trials: list[Trial], ranks: Ranks) -> Length | None:
    """Verified restored → first token of the first of three consecutive answers through the gateway by the returned tier.

    For a returned gateway: answers by any tier count. If chaos got no answer and one in the run's records is the proof
    (`answered.by_answers`), it counts from when the target was ready: an upper bound.

    Only requests sent after the verified restore count: one sent while everything was down may be answered later and proves
    nothing. Any other answer, or a failure, between the three restarts the count. Abandoned requests are skipped, and so are good
    answers of peers: behind a balancer no tier answers three in succession. It is evaluated while the tier is an expected top (no
    higher tier serves); censored if that time, or the run, ended first.

    None: the restore was not verified, or a higher tier served all along, so the tier got no requests. Requests touched by
    overloaded seconds are skipped (except good answers by another tier, which count); if only such requests were sent it is
    unknown, as with `failover`.
    """
    since = trial.back_from
    if since is None:
        return None
    until = trial.ends_at
    for tier in above(ranks, trial.target):
        holding = [t for t in trials if t.target == tier and t.covers(since)]
        if not holding:
            return None
        until = min(until, holding[0].gone_until)
    first, last = np.searchsorted(requests["sent_at"].to_numpy(float), [since, until], "right")
    requests = requests.iloc[first:last]
    counts = ((requests["via"] == GATEWAY) & ~requests["outcome"].isin(SILENT)).to_numpy(bool)
    own = (requests["good"] & given_by(requests, trial.target)).to_numpy(bool)
    peers = (requests["good"] & given_beside(requests, trial.target, ranks)).to_numpy(bool)
    counts = counts & (own | ~peers)
    back = first_in_a_row(own[counts])
    if back is None:
        return Length(max(0.0, until - since), censored=True)
    return as_length(requests.iloc[np.flatnonzero(counts)[back]], since)


def first_in_a_row(good: Sequence[bool] | np.ndarray, length: int = IN_A_ROW) -> int | None:
    """The index where the first `length` consecutive good ones begin; None if there are none."""
    held = np.asarray(good, dtype=bool)
    if len(held) < length:
        return None
    begins = held[: len(held) - length + 1].copy()
    for i in range(1, length):
        begins &= held[i : i + len(begins)]
    return int(begins.argmax()) if begins.any() else None


def _calm_s(rows: pd.DataFrame, tier: str) -> float | None:
    """The p95 of the time to a first token of this tier's good answers among these requests, in seconds."""
    calm = _until_first_s(rows[rows["good"] & (rows["tier"] == tier)])
    return None if calm.empty else quantile(calm.to_numpy(float), 0.95)


def _until_first_s(good: pd.DataFrame) -> pd.Series:
    """Sent → the first token as `failover` and `failover_gap` use it: a thought counts; without one, the answer's end."""
    return good["first_at"] - good["sent_at"]
