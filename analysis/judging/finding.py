"""What a checker found out about one expectation: pass, fail or unknown, and on which evidence."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from analysis.metrics.shares import Share
from analysis.metrics.trials import Value


class Status(StrEnum):
    """No evidence is `unknown`, never `pass`."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


UNKNOWN = str(Status.UNKNOWN)  # measured, in words, where nothing was
_WORST_FIRST = (Status.FAIL, Status.UNKNOWN, Status.PASS)


def worst(statuses: Iterable[Status]) -> Status:
    """Of several statuses: fail before unknown before pass. Of none: unknown."""
    given = set(statuses)
    return next((s for s in _WORST_FIRST if s in given), Status.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation's answer."""

    name: str  # the word under `expect:`, or `restored`, `run`
    id: str | None  # the operator's own number for it
    target: str  # what was wanted, in words
    measured: str  # what was found, in words
    status: Status
    evidence: str  # which asks or events it rests on
    value: float | None = None  # the number that was judged
    unit: str | None = None
    n: int | None = None  # how many trials, requests or pairs it rests on
    interval: tuple[float, float | None] | None = None  # an upper end of None: it is censored
    trials: tuple[Value, ...] = ()
    reason: str = ""  # of what is no pass: why, in a sentence that stands by itself; none where measured and target say it


def unknown(name: str, id: str | None, target: str, why: str) -> Finding:
    """Nothing could be judged, and why."""
    return Finding(name, id, target, UNKNOWN, Status.UNKNOWN, why, n=0)


def judge_at_most(values: Iterable[Value], limit: float) -> Status:
    """Every trial must keep the limit.

    A censored value beyond the limit fails; one within it, or a trial in which nothing was seen, leaves it unknown.
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
    """At least so large. Unknown where only the doubtful misses keep it below, and where nothing was asked."""
    if share.ratio is None or share.at_most is None:
        return Status.UNKNOWN
    if share.ratio >= least:
        return Status.PASS
    return Status.UNKNOWN if share.at_most >= least else Status.FAIL


def judge_between(low: float | None, high: float | None, limit: float) -> Status:
    """A number known to lie between the two (None: nobody knows how low, how high) must be at most the limit."""
    if high is not None and high <= limit:
        return Status.PASS
    return Status.FAIL if low is not None and low > limit else Status.UNKNOWN
