"""Why a lower tier answered: one class per answer, and the cloud's leaks. Pure.

An answer is `spurious` only if a higher tier was *verified* to serve all along. At the edges of a fault, and if evidence is
missing, the class is `unknown` and `because` states why.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from analysis.metrics.windows import Trial
from contract.ranks import Ranks, above
from contract.records import GATEWAY

HEALTH_WITHIN_S = 2.5  # a health row further away than this is no evidence for an instant
ANSWER_WITHIN_S = 5.0  # good answers this close before and after show that the tier served


class Why(StrEnum):
    """Why a lower tier answered."""

    NEEDED = "needed"  # no higher tier was serving
    STICKY = "sticky"  # one had returned, within the gateway's cooldown
    SPURIOUS = "spurious"  # one was verified serving all along
    UNKNOWN = "unknown"


SHOWN = tuple(str(w) for w in Why)  # the columns of `by_class`


class State(StrEnum):
    """What is known of a higher tier while a request was routed."""

    DOWN = "down"
    EDGE = "edge"  # being injected or restored
    COOLDOWN = "cooldown"  # returned, and the gateway's cooldown may still hold it
    UNVERIFIED = "unverified"  # no fault, but no evidence that it served either
    SERVING = "serving"


_STATES = tuple(State)  # arrays hold a state as its index here
_DOWN, _EDGE, _COOLDOWN, _UNVERIFIED, _SERVING = range(len(_STATES))
_NOTHING = -1


@dataclass(frozen=True, slots=True)
class Outage:
    """One fault on one tier: certainly down between `down_from` and `down_until`."""

    tier: str
    gone_from: float
    down_from: float
    down_until: float
    back_at: float | None  # None: it never came back, or unknown
    cooled_until: float | None  # None: the gateway's cooldown is unknown


def outages_of(
    trials: list[Trial],
    lost_at: dict[tuple[str, int], float],
    requests: pd.DataFrame,
    cooldown_s: float | None,
) -> list[Outage]:
    """The faults as outages of tiers; a fault on the gateway is not an outage of a tier.

    Down: from lost (or effective, without evidence of a loss) until the restore is commanded.
    Back: the restore was verified, or, earlier, a good answer by the tier itself to a request sent after the restore was commanded.
    Requests are sorted by the time they were sent.
    """
    out = []
    own = {tier: _good_of(tier, requests) for tier in {t.target for t in trials}}
    for t in trials:
        if t.gone_from is None or t.target == GATEWAY:
            continue
        restore_at = t.restore_commanded_at if t.restore_commanded_at is not None else t.restore_begun_at
        known = [a for a in (lost_at.get((t.step, t.trial)), t.effective_at) if a is not None]
        down_until = next((a for a in (restore_at, t.restored_at) if a is not None), t.ends_at)
        back_at = t.restored_at
        if restore_at is not None:
            sent_at, first_at = own[t.target]
            first, last = (
                np.searchsorted(sent_at, restore_at),
                np.searchsorted(sent_at, t.gone_until, "right"),
            )
            shown = first_at[first:last]
            shown = shown[shown <= t.gone_until]
            if len(shown):
                back_at = float(shown.min())
        cooled_until = None if back_at is None or cooldown_s is None else back_at + cooldown_s
        out.append(
            Outage(t.target, t.gone_from, min(known, default=down_until), down_until, back_at, cooled_until)
        )
    return out


def why_lower(
    requests: pd.DataFrame, ranks: Ranks, outages: list[Outage], health: pd.DataFrame
) -> pd.DataFrame:
    """One class for each answer that a lower tier gave through the gateway, judged over [sent, headers].

    Tiers that the gateway balances between have one rank; none of them is lower than another.
    needed: no higher tier was serving. sticky: the tier just above (one of that rank) had returned, within the gateway's cooldown.
    spurious: a higher tier was verified serving all along. unknown: one was at the edge of a fault, or there is no evidence
    whether it served.

    A higher tier is *down* if the certain part of a fault, or two failed health checks in succession, overlap [sent, headers]
    at all: the gateway may have tried it then. After its return the gateway's cooldown may hold a tier; while it is held and the
    tier below it is down, the next one is needed. A tier was *verified serving* if it passed its health checks before and after,
    or gave good answers within 5 s before and after. If a single health check failed, and no fault explains it, there is no
    evidence whether it served. Health checks: `health.believed`.

    Columns: request_id, lane, tier, sent_at, headers_at, ended_at, why, because.
    """
    requests = requests[
        ["request_id", "lane", "via", "tier", "good", "sent_at", "headers_at", "first_at", "ended_at"]
    ]
    through = ((requests["via"] == GATEWAY) & requests["sent_at"].notna()).to_numpy(bool)
    parts = []
    sights = {tier: _Sight.of(tier, requests, health) for rank in ranks[:-1] for tier in rank}
    for place, tier in ((i, tier) for i, rank in enumerate(ranks) for tier in rank if i):
        rows = requests[through & (requests["tier"] == tier).to_numpy(bool)]
        start = rows["sent_at"].to_numpy(float)
        end = start.copy()
        for name in (
            "ended_at",
            "first_at",
            "headers_at",
        ):  # the last known one wins: headers_at before first_at before ended_at
            known = rows[name].to_numpy(float)
            end = np.where(np.isnan(known), end, known)
        higher = above(ranks, tier)
        states = [_states(sights[h], start, end, [o for o in outages if o.tier == h]) for h in higher]
        parts.append(rows[["request_id", "lane", "tier", "sent_at", "ended_at"]].assign(
            headers_at=end, **_classes(higher, states, len(ranks[place - 1]))
        ))  # fmt: skip
    columns = ["request_id", "lane", "tier", "sent_at", "headers_at", "ended_at", "why", "because"]
    if not parts:
        return pd.DataFrame(columns=columns)
    because = union_categoricals([part.pop("because") for part in parts])
    return pd.concat(parts).assign(because=because)[columns].sort_index(ignore_index=True)


def _classes(higher: list[str], states: list[np.ndarray], nearest: int) -> dict[str, pd.Categorical]:
    """The columns why and because of each answer, from the states of the higher tiers, topmost first.

    The last `nearest` of them are of the rank just above.
    """
    mixed = np.zeros(len(states[0]), dtype=np.int64)
    for state in states:
        mixed = mixed * len(_STATES) + state
    found, which = np.unique(mixed, return_inverse=True)
    classes = []
    for one in found:
        places = [one // len(_STATES) ** (len(higher) - 1 - i) % len(_STATES) for i in range(len(higher))]
        classes.append(_class(higher, [_STATES[p] for p in places], nearest))
    why = np.array([SHOWN.index(str(w)) for w, _ in classes], dtype=np.int8)
    return {
        "why": pd.Categorical.from_codes(why[which], pd.Index(SHOWN, dtype="str")),
        "because": pd.Categorical.from_codes(
            which, pd.Index([because for _, because in classes], dtype="str")
        ),
    }


def _good_of(tier: str, requests: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """When its good answers were sent, in order, and when their first tokens came."""
    good = requests.loc[requests["good"] & (requests["tier"] == tier), ["sent_at", "first_at"]]
    return good["sent_at"].to_numpy(float), good["first_at"].to_numpy(float)


def _class(higher: list[str], states: list[State], nearest: int) -> tuple[Why, str]:
    """From the states of the higher tiers, topmost first."""
    because = ", ".join(f"{t} {s}" for t, s in zip(higher, states, strict=True))
    if State.SERVING in states:
        return Why.SPURIOUS, because
    if State.UNVERIFIED in states:
        return Why.UNKNOWN, because
    if State.EDGE in states:
        return Why.UNKNOWN, because
    # All are down or held by the cooldown: the rank just above decides, since it would have been next.
    return (Why.STICKY if State.COOLDOWN in states[-nearest:] else Why.NEEDED), because


@dataclass(frozen=True, slots=True)
class _Sight:
    """The evidence of one tier: its health rows and the times of its good answers."""

    at: np.ndarray
    up: np.ndarray  # 1.0, 0.0 or nan
    answered_at: np.ndarray

    @classmethod
    def of(cls, tier: str, requests: pd.DataFrame, health: pd.DataFrame) -> "_Sight":
        rows = health[health["tier"] == tier].sort_values("at")
        _, first_at = _good_of(tier, requests)
        return cls(
            rows["at"].to_numpy(dtype=float),
            rows["up"].to_numpy(dtype=float, na_value=np.nan),
            np.sort(first_at[~np.isnan(first_at)]),
        )

    def health_around(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The state by the health rows: the last before start, the first after end, and all between; _NOTHING: no evidence.

        Down: two failed checks in succession, with start, end or all between them. Unverified: a single failed check, which is
        not the edge of a known fault.
        """
        states = np.full(len(start), _NOTHING, dtype=np.int8)
        n = len(self.at)
        if not n:
            return states
        first = np.maximum(np.searchsorted(self.at, start, "right") - 1, 0)
        last = np.minimum(np.maximum(np.searchsorted(self.at, end, "left"), first), n - 1)
        near = (start - self.at[first] <= HEALTH_WITHIN_S) & (self.at[last] - end <= HEALTH_WITHIN_S)
        failed, rose = self.up == 0.0, self.up == 1.0
        twice = failed[1:] & failed[:-1] & (np.diff(self.at) <= HEALTH_WITHIN_S)
        bracketed = (last > first) & (self.at[first] <= start) & (self.at[last] >= end)
        states[near & bracketed & (_within(rose, first, last + 1) == last + 1 - first)] = _SERVING
        states[near & (_within(failed, first, last + 1) > 0)] = _UNVERIFIED
        states[near & (_within(twice, first, last) > 0)] = _DOWN
        return states

    def answered_after(self, at: float) -> float:
        """When it first answered after this instant."""
        after = self.answered_at[np.searchsorted(self.answered_at, at, "right") :]
        return float(after[0]) if len(after) else np.inf

    def answered_around(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        at = np.concatenate([[-np.inf], self.answered_at, [np.inf]])
        before = at[np.searchsorted(self.answered_at, start, "right")]
        after = at[np.searchsorted(self.answered_at, end, "left") + 1]
        return (start - before <= ANSWER_WITHIN_S) & (after - end <= ANSWER_WITHIN_S)


def _within(which: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """How many there are from first to last, the last left out."""
    came = np.concatenate([[0], np.cumsum(which)])
    return came[last] - came[first]


def _states(sight: _Sight, start: np.ndarray, end: np.ndarray, outages: list[Outage]) -> np.ndarray:
    """The state of one tier with its outages for each interval; the intervals are sorted by start.

    Of the states that an interval overlaps, the first in this order: down, edge, cooldown, serving.
    """
    by_health = sight.health_around(start, end)
    longest = float((end - start).max(initial=0.0))
    states = np.full(len(start), _NOTHING, dtype=np.int8)

    def meet(since: float, until: float, state: int) -> None:
        """Sets intervals without a state that begin before `until` and end at or after `since`."""
        first, last = np.searchsorted(start, [since - longest - 1e-3, until])
        part = states[first:last]
        part[(end[first:last] >= since) & (part == _NOTHING)] = state

    def begin(since: float, until: float, state: int) -> None:
        """Sets intervals without a state that begin from `since` on and before `until`."""
        first, last = np.searchsorted(start, [since, until])
        part = states[first:last]
        part[part == _NOTHING] = state

    states[by_health == _DOWN] = _DOWN
    for o in outages:
        meet(o.down_from, o.down_until, _DOWN)
    for o in outages:
        meet(o.gone_from, o.back_at if o.back_at is not None else np.inf, _EDGE)
    for o in outages:
        if o.back_at is None:
            continue
        if o.cooled_until is not None:
            begin(o.back_at, o.cooled_until, _COOLDOWN)
        else:  # the gateway's cooldown is unknown: it may be held until it answers
            begin(o.back_at, sight.answered_after(o.back_at), _UNVERIFIED)
    known = np.where(sight.answered_around(start, end), _SERVING, _UNVERIFIED)
    return np.where(states != _NOTHING, states, np.where(by_health != _NOTHING, by_health, known))


def by_class(lower: pd.DataFrame, ranks: Ranks) -> pd.DataFrame:
    """Counts: one row per tier that may answer for a higher one, one column per class."""
    counts = lower.groupby(["tier", "why"], observed=True).size().unstack(fill_value=0)
    return counts.reindex(index=[t for rank in ranks[1:] for t in rank], columns=list(SHOWN), fill_value=0)


def serving_tiers(spurious: pd.DataFrame) -> str:
    """`tier ollama was verified serving all along`: the higher tiers, the most frequent first."""
    counts: dict[str, int] = {}
    for because, n in spurious["because"].astype("object").value_counts().items():
        for part in str(because).split(", "):
            tier, _, state = part.rpartition(" ")
            if state == State.SERVING:
                counts[tier] = counts.get(tier, 0) + int(n)
    if len(counts) == 1:
        return f"tier {next(iter(counts))} was verified serving all along"
    most_first = sorted(counts.items(), key=lambda one: -one[1])
    return f"a higher tier was verified serving all along: {', '.join(f'{tier} ({n})' for tier, n in most_first)}"


def cloud_answers(lower: pd.DataFrame, clouds: list[str]) -> pd.DataFrame:
    """The cloud's answers with their classes. Leaks are those of class spurious; sticky and unknown ones are listed separately."""
    return lower[lower["tier"].isin(clouds)]
