"""No request is answered by a lower tier while a higher one serves."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, Status, unknown
from analysis.metrics import attribution
from analysis.metrics.attribution import State, Why


class Params(Common):
    """`handed_down: {max: 0}`"""

    max: int = Field(default=0, ge=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """At most `max` answers of lower tiers were spurious: given while a higher tier was verified serving all along.

    A group of deployments serves if one of them does. Sticky answers and those at the edges of a fault are listed separately.
    Unknown if answers without evidence of whether a higher tier served could exceed the limit.
    """
    target = f"at most {params.max} answers by a lower tier while a higher one served"
    n = int((run.frames.through_gateway & run.frames.requests["tier"].notna()).sum())
    if len(run.frames.ranks) < 2:
        return unknown("handed_down", params.id, target, "the topology has no lower tier")
    if n == 0:
        return unknown("handed_down", params.id, target, "no request was answered through the gateway")
    lower = run.lower
    count = {why: int((lower["why"] == why).sum()) for why in Why}
    blind = int((lower["because"].str.contains(State.UNVERIFIED) & (lower["why"] == Why.UNKNOWN)).sum())
    down = count[Why.SPURIOUS]
    if down > params.max:
        status = Status.FAIL
    else:
        status = Status.UNKNOWN if down + blind > params.max else Status.PASS
    spurious = lower[lower["why"] == Why.SPURIOUS]
    which = "; ".join(
        f"{r['request_id']} by {r['tier']} at {run.instant(r['sent_at'])}: {r['because']}"
        for r in spurious.head(3).to_dict("records")
    )
    return Finding(
        "handed_down", params.id, target,
        f"{down} ({count[Why.NEEDED]} needed, {count[Why.STICKY]} sticky, {count[Why.UNKNOWN]} unknown)",
        status,
        evidence=f"{len(lower)} answers by lower tiers of {n}" + (f"; {which}" if which else "")
        + (f"; for {blind} there is no evidence whether a higher tier served" if blind else ""),
        value=float(down), unit="answers", n=n,
        reason="" if status is not Status.FAIL
        else f"{down} answers by a lower tier were not needed: {attribution.serving_tiers(spurious)}",
    )  # fmt: skip
