"""A checker's result for one expectation: pass, fail or unknown, and the evidence."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from analysis.metrics.shares import Share
from analysis.metrics.trials import Value


class Status(StrEnum):
    """Without evidence the status is `unknown`, never `pass`."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


UNKNOWN = str(Status.UNKNOWN)  # `measured` if nothing was
_WORST_FIRST = (Status.FAIL, Status.UNKNOWN, Status.PASS)


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of several statuses: fail before unknown before pass. Of none: unknown."""
    given = set(statuses)
    return next((s for s in _WORST_FIRST if s in given), Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one expectation."""

    name: str  # the word under `expect:`, or `restored`, `run`
    id: str | None  # the operator's ID of the requirement
    target: str  # what was expected, in words
    measured: str  # what was measured, in words
    status: Status
    evidence: str  # the requests or events that it rests on
    value: float | None = None  # the number that was judged
    unit: str | None = None
    n: int | None = None  # number of trials, requests or pairs that it rests on
    interval: tuple[float, float | None] | None = None  # an upper end of None: censored
    trials: tuple[Value, ...] = ()
    reason: str = ""  # why it is not passed, as a full sentence; empty if measured and target say it


def unknown(name: str, id: str | None, target: str, why: str) -> Finding:
    """The finding if nothing could be judged; `why` is the evidence."""
    return Finding(name, id, target, UNKNOWN, Status.UNKNOWN, why, n=0)


def judge_at_most(values: Iterable[Value], limit: float) -> Status:
    """Every trial must be within the limit.

    A censored value beyond the limit fails. A censored value within it, or a trial without a value, is unknown.
    """
    statuses = []
    for v in values:
        if v.value is None:
            statuses.append(Status.UNKNOWN)
        elif v.value > limit:
            statuses.append(Status.FAIL)
        else:
            statuses.append(Status.UNKNOWN if v.censored else Status.PASS)
    return worst(statuses)


def judge_share(share: Share, least: float) -> Status:
    """The share must be at least `least`. Unknown if only doubtful misses keep it below, or if there were no requests."""
    if share.ratio is None or share.at_most is None:
        return Status.UNKNOWN
    if share.ratio >= least:
        return Status.PASS
    return Status.UNKNOWN if share.at_most >= least else Status.FAIL


def judge_between(low: float | None, high: float | None, limit: float) -> Status:
    """A number between `low` and `high` (None: unknown bound) must be at most the limit."""
    if high is not None and high <= limit:
        return Status.PASS
    return Status.FAIL if low is not None and low > limit else Status.UNKNOWN
