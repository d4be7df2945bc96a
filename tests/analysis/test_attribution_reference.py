"""The vectorised classes of lower tiers' answers equal those of a plain loop over answers, on random small runs."""

import functools
import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from analysis.metrics.attribution import (
    ANSWER_WITHIN_S,
    HEALTH_WITHIN_S,
    Outage,
    State,
    Why,
    outages_of,
    why_lower,
)
from analysis.metrics.windows import Trial
from contract.records import GATEWAY

RUNS = 200
FAST = 60  # of them the fast tests compare
LENGTH_S = 40
TOLD = ["request_id", "lane", "tier", "sent_at", "headers_at", "ended_at", "why", "because"]


# The reference: answer after answer.


def outages_looped(trials, lost_at, requests, cooldown_s):
    out = []
    for t in trials:
        if t.gone_from is None:
            continue
        restore_at = t.restore_commanded_at if t.restore_commanded_at is not None else t.restore_begun_at
        known = [a for a in (lost_at.get((t.step, t.trial)), t.effective_at) if a is not None]
        down_until = next((a for a in (restore_at, t.restored_at) if a is not None), t.ends_at)
        back_at = t.restored_at
        if restore_at is not None:
            own = requests[
                (requests["tier"] == t.target)
                & requests["good"]
                & (requests["sent_at"] >= restore_at)
                & (requests["first_at"] <= t.gone_until)
            ]
            if len(own):
                back_at = float(own["first_at"].min())
        cooled_until = None if back_at is None or cooldown_s is None else back_at + cooldown_s
        out.append(
            Outage(t.target, t.gone_from, min(known, default=down_until), down_until, back_at, cooled_until)
        )
    return out


def why_looped(requests, ranks, outages, health):
    tiers = [tier for rank in ranks for tier in rank]
    sights = {tier: sight_of(tier, requests, health) for tier in tiers}
    rows = []
    for record in requests.to_dict("records"):
        if record["tier"] not in tiers[len(ranks[0]) :] or record["via"] != GATEWAY:
            continue
        start = record["sent_at"]
        end = next(
            (e for e in (record["headers_at"], record["first_at"], record["ended_at"]) if e == e), start
        )
        place = next(i for i, rank in enumerate(ranks) if record["tier"] in rank)
        higher = [tier for rank in ranks[:place] for tier in rank]
        states = [state(start, end, [o for o in outages if o.tier == h], sights[h]) for h in higher]
        reasons = ", ".join(f"{t} {s}" for t, s in zip(higher, states, strict=True))
        rows.append(
            record
            | {"headers_at": end, "why": str(why_of(states, len(ranks[place - 1]))), "because": reasons}
        )
    return pd.DataFrame(rows, columns=TOLD)


def why_of(states, nearest):
    if State.SERVING in states:
        return Why.SPURIOUS
    if State.UNVERIFIED in states or State.EDGE in states:
        return Why.UNKNOWN
    return Why.STICKY if State.COOLDOWN in states[-nearest:] else Why.NEEDED


def sight_of(tier, requests, health):
    rows = health[health["tier"] == tier].sort_values("at")
    good = requests[requests["good"] & (requests["tier"] == tier)]
    return (
        rows["at"].to_numpy(float),
        rows["up"].to_numpy(float, na_value=np.nan),
        np.sort(good["first_at"].dropna().to_numpy(float)),
    )


def state(start, end, outages, sight):
    checked = health_around(sight, start, end)
    if checked is State.DOWN or any(start < o.down_until and end >= o.down_from for o in outages):
        return State.DOWN
    for o in outages:
        if start < (o.back_at if o.back_at is not None else np.inf) and end >= o.gone_from:
            return State.EDGE
    for o in outages:
        if o.back_at is None or start < o.back_at:
            continue
        if o.cooled_until is not None and start < o.cooled_until:
            return State.COOLDOWN
        if o.cooled_until is None and not any(o.back_at < at <= start for at in sight[2]):
            return State.UNVERIFIED
    if checked is not None:
        return checked
    return State.SERVING if answered_around(sight[2], start, end) else State.UNVERIFIED


def health_around(sight, start, end):
    at, up, _ = sight
    first = max(0, int(np.searchsorted(at, start, "right")) - 1)
    at, up = at[first:], up[first:]
    last = int(np.searchsorted(at, end, "left")) + 1
    at, up = at[:last], up[:last]
    if not len(at) or start - at[0] > HEALTH_WITHIN_S or at[-1] - end > HEALTH_WITHIN_S:
        return None
    failed = up == 0.0
    if (failed[1:] & failed[:-1] & (np.diff(at) <= HEALTH_WITHIN_S)).any():
        return State.DOWN
    if failed.any():
        return State.UNVERIFIED
    bracketed = len(at) > 1 and at[0] <= start and at[-1] >= end
    return State.SERVING if bracketed and (up == 1.0).all() else None


def answered_around(answered_at, start, end):
    before, after = answered_at[answered_at <= start], answered_at[answered_at >= end]
    return (
        len(before) > 0
        and len(after) > 0
        and start - before[-1] <= ANSWER_WITHIN_S
        and after[0] - end <= ANSWER_WITHIN_S
    )


# Random runs. Instants are multiples of 1/4 s, so that ends of intervals meet exactly, now and then.


def quarter(rng, least, most):
    return rng.randrange(int(4 * least), int(4 * most) + 1) / 4


def random_requests(rng, tiers):
    rows = []
    for i in range(rng.choice((0, 10, 60))):
        sent_at = quarter(rng, 0, LENGTH_S)
        spans = sorted(rng.choice((0.0, 0.25, 1.0, 9.0)) for _ in range(3))
        at = [np.nan if rng.random() < 0.2 else sent_at + s for s in spans]
        rows.append({
            "request_id": f"req-{i}", "lane": rng.choice(("load", "probe_new")), "via": rng.choice((GATEWAY,) * 5 + (tiers[0],)),
            "tier": rng.choice((*tiers, *tiers, None, "nobody's")), "good": rng.random() < 0.7,
            "sent_at": sent_at, "headers_at": at[0], "first_at": at[1], "ended_at": at[2],
        })  # fmt: skip
    columns = ["request_id", "lane", "via", "tier", "good", "sent_at", "headers_at", "first_at", "ended_at"]
    requests = pd.DataFrame(rows, columns=columns).sort_values("sent_at", kind="stable", ignore_index=True)
    kinds = {"request_id": "str", "lane": "category", "via": "category", "tier": "category", "good": bool}
    return requests.astype(kinds | dict.fromkeys(columns[5:], float))


def random_health(rng, tiers):
    """A check per second; some are missing, late, unknown or failed, singly or several in a row."""
    rows = []
    for tier in tiers:
        watched, failing = rng.random() < 0.8, 0
        for second in range(LENGTH_S + 2):
            if failing == 0 and rng.random() < 0.06:
                failing = rng.choice((1, 1, 2, 6))
            up = None if rng.random() < 0.05 else failing == 0
            failing = max(0, failing - 1)
            if watched and rng.random() < 0.85:
                rows.append((second + rng.choice((0.0, 0.0, 0.25, 0.5, 1.75)), tier, up))
    rng.shuffle(rows)
    health = pd.DataFrame(rows, columns=["at", "tier", "up"])
    return health.astype({"at": float, "tier": "str", "up": "boolean"}).drop_duplicates(["at", "tier"])


def random_trials(rng, tiers):
    """Faults that may overlap, on the same tier too; of some a stage was never written."""
    found = []
    for number in range(rng.randrange(8)):
        at = [quarter(rng, 0, LENGTH_S - 5)]
        for _ in range(5):
            at.append(at[-1] + rng.choice((0.0, 0.25, 1.0, 4.0)))
        stages = [None if rng.random() < 0.12 else a for a in at]
        found.append(
            Trial("step", number, "freeze", rng.choice(tiers), *stages, None, rng.choice((at[-1] + 5, LENGTH_S)))
        )  # fmt: skip
    return found


def random_ranks(rng, tiers):
    """In every third run the gateway balances between some consecutive tiers."""
    ranks = [[tier] for tier in tiers]
    if len(ranks) > 1 and rng.random() < 1 / 3:
        i = rng.randrange(len(ranks) - 1)
        ranks[i : i + 2] = [ranks[i] + ranks[i + 1]]
    return ranks


def random_run(seed):
    rng = random.Random(seed)
    tiers = ["a", "b", "c", "d"][: rng.randint(1, 4)]
    requests, health, trials = (
        random_requests(rng, tiers),
        random_health(rng, tiers),
        random_trials(rng, tiers),
    )
    began = [t for t in trials if t.gone_from is not None and rng.random() < 0.6]
    lost_at = {(t.step, t.trial): t.gone_from + rng.choice((0.0, 0.5)) for t in began}
    return requests, random_ranks(rng, tiers), trials, lost_at, health, rng.choice((None, 0.5, 5.0, 15.0))


@functools.cache
def looped(seed):
    """A seed's run, with the outages and classes that the loop finds."""
    run = requests, ranks, trials, lost_at, health, cooldown_s = random_run(seed)
    outages = outages_looped(trials, lost_at, requests, cooldown_s)
    return run, outages, why_looped(requests, ranks, outages, health)


@pytest.mark.parametrize(
    "seed", [pytest.param(s, marks=[pytest.mark.verify] if s >= FAST else []) for s in range(RUNS)]
)
def test_over_columns_every_answer_has_the_same_class_for_the_same_reason(seed):
    (requests, ranks, trials, lost_at, health, cooldown_s), outages, classes = looped(seed)
    assert outages_of(trials, lost_at, requests, cooldown_s) == outages
    found = why_lower(requests, ranks, outages, health)
    assert found.columns.tolist() == TOLD
    pd.testing.assert_frame_equal(
        found, classes, check_dtype=False, check_categorical=False, check_exact=True
    )


@pytest.mark.verify
def test_the_random_runs_have_every_class_for_every_reason():
    classes = pd.concat([looped(seed)[2] for seed in range(RUNS)])
    whys = Counter(classes["why"])
    assert all(whys[why] > 30 for why in Why), whys
    states = Counter(word for text in classes["because"] for word in text.replace(",", "").split())
    assert all(states[state] > 50 for state in State), states
