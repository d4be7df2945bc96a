"""Cloud tiers answer only while no higher tier can."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, Status, unknown
from analysis.metrics import attribution
from analysis.metrics.attribution import State, Why


class Params(Common):
    """`cloud_only_in_need: {id: NFR68}`"""

    max_leaks: int = Field(default=0, ge=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """At most `max_leaks` answers of cloud tiers were spurious: given while a higher tier was verified serving all along.

    Sticky answers (within the gateway's cooldown after a return) and those at the edges of a fault are listed separately and
    are not leaks. Unknown if answers without evidence of whether a higher tier served could exceed the limit.
    """
    target = f"at most {params.max_leaks} answers of the cloud that were not needed"
    n = int((run.frames.through_gateway & run.frames.requests["tier"].notna()).sum())
    if not run.clouds:
        return unknown("cloud_only_in_need", params.id, target, "the topology marks no tier as cloud")
    if n == 0:
        return unknown("cloud_only_in_need", params.id, target, "no request was answered through the gateway")
    cloud = attribution.cloud_answers(run.lower, run.clouds)
    count = {why: int((cloud["why"] == why).sum()) for why in Why}
    blind = int((cloud["because"].str.contains(State.UNVERIFIED) & (cloud["why"] == Why.UNKNOWN)).sum())
    leaks = count[Why.SPURIOUS]
    if leaks > params.max_leaks:
        status = Status.FAIL
    else:
        status = Status.UNKNOWN if leaks + blind > params.max_leaks else Status.PASS
    spurious = cloud[cloud["why"] == Why.SPURIOUS]
    first = spurious.head(3)
    which = "; ".join(
        f"{r['request_id']} at {run.instant(r['sent_at'])}: {r['because']}" for r in first.to_dict("records")
    )
    return Finding(
        "cloud_only_in_need", params.id, target,
        f"{leaks} leaks ({count[Why.NEEDED]} needed, {count[Why.STICKY]} sticky, {count[Why.UNKNOWN]} unknown)",
        status,
        evidence=f"{len(cloud)} cloud answers of {n}" + (f"; leaks: {which}" if which else "")
        + (f"; for {blind} there is no evidence whether a higher tier served" if blind else ""),
        value=float(leaks), unit="answers", n=n,
        reason="" if status is not Status.FAIL
        else f"{leaks} answers of the cloud were not needed: {attribution.serving_tiers(spurious)}",
    )  # fmt: skip
