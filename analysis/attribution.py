"""Why a lower tier answered: one class per answer, and the cloud's leaks. Pure.

The law: `spurious` is only said where a higher tier was *verified* to serve all along; at the edges of a fault, and
where evidence is missing, the class is `unknown` and `because` says why.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from analysis.windows import Trial

HEALTH_WITHIN_S = 2.5  # a health row further away than this says nothing about an instant
ANSWER_WITHIN_S = 5.0  # so near before and after, a good answer shows that the tier served


class Why(StrEnum):
    """Why a lower tier answered."""

    NEEDED = "needed"  # no higher tier was serving
    STICKY = "sticky"  # one had returned, within the gateway's cooldown
    SPURIOUS = "spurious"  # one was verified serving all along
    UNKNOWN = "unknown"


SHOWN = tuple(str(w) for w in Why)  # the columns of `by_class`


class State(StrEnum):
    """What is known of a higher tier while an ask was routed."""

    DOWN = "down"
    EDGE = "edge"  # being taken away or brought back
    COOLDOWN = "cooldown"  # returned, and the gateway's cooldown may still hold it
    UNVERIFIED = "unverified"  # no fault, but no evidence that it served either
    SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Outage:
    """One fault on one tier as far as it is known: certainly down between `down_from` and `down_until`."""

    tier: str
    gone_from: float
    down_from: float
    down_until: float
    back_at: float | None  # None: it never came back, or nobody knows
    cooled_until: float | None  # None: the gateway's cooldown is not known


def outages_of(
    trials: list[Trial], lost_at: dict[tuple[str, int], float], asks: pd.DataFrame, cooldown_s: float | None
) -> list[Outage]:
    """The faults as outages. Down: from lost (or effective, where nothing showed a loss) until the mend is commanded.

    Back: the mend was verified, or, earlier, a good answer by the tier itself to an ask sent after the mend was commanded.
    """
    out = []
    for t in trials:
        if t.gone_from is None:
            continue
        mend_at = t.mend_commanded_at if t.mend_commanded_at is not None else t.mend_begun_at
        known = [a for a in (lost_at.get((t.step, t.trial)), t.effective_at) if a is not None]
        down_until = next((a for a in (mend_at, t.mended_at) if a is not None), t.ends_at)
        back_at = t.mended_at
        if mend_at is not None:
            own = asks[
                (asks["tier"] == t.target)
                & asks["good"]
                & (asks["sent_at"] >= mend_at)
                & (asks["first_at"] <= t.gone_until)
            ]
            if len(own):
                back_at = float(own["first_at"].min())
        cooled_until = None if back_at is None or cooldown_s is None else back_at + cooldown_s
        out.append(
            Outage(t.target, t.gone_from, min(known, default=down_until), down_until, back_at, cooled_until)
        )
    return out


def why_lower(
    asks: pd.DataFrame, tiers: list[str], outages: list[Outage], health: pd.DataFrame
) -> pd.DataFrame:
    """One class for each answer that a lower tier gave through the gateway, judged over [sent, headers].

    needed: no higher tier was serving. sticky: the tier just above had returned, within the gateway's cooldown.
    spurious: a higher tier was verified serving all along. unknown: one was at the edge of a fault, or nothing shows
    whether it served.

    A higher tier is *down* where a fault's certain part, or two failed health checks in succession, meet [sent, headers]
    at all: the gateway may have tried it then. A tier that has returned may be held by the gateway's cooldown for so
    long after its return; while it is held and the tier below it is down, the next one is needed. It was *verified
    serving* where it answered its health checks before and after, or gave good answers within 5 s before and after.

    Columns: request_id, lane, tier, sent_at, headers_at, ended_at, why, because.
    """
    rank = {tier: i for i, tier in enumerate(tiers)}
    lower = asks[asks["tier"].map(rank).fillna(0).to_numpy(dtype=float) > 0]
    lower = lower[lower["via"] == "gateway"]
    sights = {tier: _Sight.of(tier, asks, health) for tier in tiers}
    rows = []
    needed = ["request_id", "lane", "tier", "sent_at", "headers_at", "first_at", "ended_at"]
    for ask in lower[needed].to_dict("records"):
        start = ask["sent_at"]
        end = next((e for e in (ask["headers_at"], ask["first_at"], ask["ended_at"]) if e == e), start)
        higher = tiers[: rank[ask["tier"]]]
        states = [_state(tier, start, end, outages, sights[tier]) for tier in higher]
        why, because = _class(higher, states)
        rows.append(
            {k: ask[k] for k in ("request_id", "lane", "tier", "sent_at", "ended_at")}
            | {"headers_at": end, "why": str(why), "because": because}
        )
    columns = ["request_id", "lane", "tier", "sent_at", "headers_at", "ended_at", "why", "because"]
    return pd.DataFrame(rows, columns=columns)


def _class(higher: list[str], states: list[State]) -> tuple[Why, str]:
    """From the states of the higher tiers, topmost first."""
    said = ", ".join(f"{t} {s}" for t, s in zip(higher, states, strict=True))
    if State.SERVING in states:
        return Why.SPURIOUS, said
    if State.UNVERIFIED in states:
        return Why.UNKNOWN, said
    if State.EDGE in states:
        return Why.UNKNOWN, said
    # Down or held by the cooldown, all of them: the tier just above decides, for it would have been the next.
    return (Why.STICKY if states[-1] is State.COOLDOWN else Why.NEEDED), said


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was seen of one tier: its health rows, and the instants of its good answers."""

    at: np.ndarray
    up: np.ndarray  # 1.0, 0.0 or nan
    answered_at: np.ndarray

    @classmethod
    def of(cls, tier: str, asks: pd.DataFrame, health: pd.DataFrame) -> "_Sight":
        rows = health[health["tier"] == tier].sort_values("at")
        good = asks[asks["good"] & (asks["tier"] == tier)]
        return cls(
            rows["at"].to_numpy(dtype=float),
            rows["up"].to_numpy(dtype=float, na_value=np.nan),
            np.sort(good["first_at"].dropna().to_numpy(dtype=float)),
        )

    def health_around(self, start: float, end: float) -> State | None:
        """What the health rows tell: the last before start, the first after end, and all between; None: nothing.

        Down: two failed checks in succession, with start, end or all between them. Edge: one failed alone.
        """
        first = max(0, int(np.searchsorted(self.at, start, "right")) - 1)
        at, up = self.at[first:], self.up[first:]
        last = int(np.searchsorted(at, end, "left")) + 1
        at, up = at[:last], up[:last]
        if not len(at) or start - at[0] > HEALTH_WITHIN_S or at[-1] - end > HEALTH_WITHIN_S:
            return None
        failed = up == 0.0
        if (failed[1:] & failed[:-1] & (np.diff(at) <= HEALTH_WITHIN_S)).any():
            return State.DOWN
        if failed.any():
            return State.EDGE
        bracketed = len(at) > 1 and at[0] <= start and at[-1] >= end
        return State.SERVING if bracketed and (up == 1.0).all() else None

    def answered_around(self, start: float, end: float) -> bool:
        before = int(np.searchsorted(self.answered_at, start, "right")) - 1
        after = int(np.searchsorted(self.answered_at, end, "left"))
        return (
            before >= 0
            and start - self.answered_at[before] <= ANSWER_WITHIN_S
            and after < len(self.answered_at)
            and self.answered_at[after] - end <= ANSWER_WITHIN_S
        )


def _state(tier: str, start: float, end: float, outages: list[Outage], sight: _Sight) -> State:
    """Down before edge before cooldown before serving: whatever of these the interval meets first in this order."""
    told = sight.health_around(start, end)
    mine = [o for o in outages if o.tier == tier]
    if told is State.DOWN or any(start < o.down_until and end >= o.down_from for o in mine):
        return State.DOWN
    for o in mine:
        if start < (o.back_at if o.back_at is not None else np.inf) and end >= o.gone_from:
            return State.EDGE
    for o in mine:
        if o.back_at is None or start < o.back_at:
            continue
        if o.cooled_until is not None and start < o.cooled_until:
            return State.COOLDOWN
        if o.cooled_until is None and not _answered_between(sight, o.back_at, start):
            return State.UNVERIFIED  # it may be held: how long the gateway's cooldown is was not told
    if told is not None:
        return told
    return State.SERVING if sight.answered_around(start, end) else State.UNVERIFIED


def _answered_between(sight: _Sight, back_at: float, until: float) -> bool:
    """Whether the tier has answered since it came back."""
    first = int(np.searchsorted(sight.answered_at, back_at, "right"))
    return first < len(sight.answered_at) and sight.answered_at[first] <= until


def by_class(lower: pd.DataFrame, tiers: list[str]) -> pd.DataFrame:
    """Counts: one row per tier that may answer for a higher one, one column per class."""
    table = pd.crosstab(lower["tier"], lower["why"])
    return table.reindex(index=tiers[1:], columns=list(SHOWN), fill_value=0)


def cloud_answers(lower: pd.DataFrame, clouds: list[str]) -> pd.DataFrame:
    """The cloud's answers with their classes. Leaks are those of class spurious; sticky and unknown ones are shown apart."""
    return lower[lower["tier"].isin(clouds)]
