"""At least so large a share of what users asked was answered well."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_share, unknown
from analysis.metrics import shares


class Params(Common):
    """`continuity: {min_good: 0.99}`"""

    min_good: float = Field(gt=0, le=1, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """Good ÷ asked of the users' requests (lane load, through the gateway), over the whole run, ≥ `min_good`.

    Cut and stalled answers and abandoned requests are not among the asked; they are counted apart and shown. Unknown where
    it is missed only by timeouts in seconds in which the client was overloaded.
    """
    target = f"at least {params.min_good:.4g} of the requests are answered well"
    found = shares.continuity(run.frames.requests)
    apart = f"{found.cut} cut, {found.stalled} stalled and {found.abandoned} abandoned apart"
    if found.good.ratio is None:
        return unknown("continuity", params.id, target, f"users asked nothing through the gateway; {apart}")
    users = shares.users_requests(run.frames.requests[["lane", "via", "good", "outcome"]])
    bad = users.loc[~users["good"], "outcome"].value_counts()
    kinds = ", ".join(f"{n} {kind}" for kind, n in bad.items() if n) or "none failed"
    doubt = (
        f"; {found.good.doubtful} timed out while the client was overloaded" if found.good.doubtful else ""
    )
    return Finding(
        "continuity", params.id, target,
        f"{found.good.ratio:.4f} ({found.good.hits} of {found.good.total}; {apart})",
        judge_share(found.good, params.min_good),
        evidence=f"{len(users)} requests of lane load through the gateway: {kinds}{doubt}",
        value=found.good.ratio, unit="share", n=found.good.total,
    )  # fmt: skip
