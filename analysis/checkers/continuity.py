"""At least a share `min_good` of the users' requests got a good answer."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_share, unknown
from analysis.metrics import shares


class Params(Common):
    """`continuity: {min_good: 0.99}`"""

    min_good: float = Field(gt=0, le=1, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """Good ÷ total of the users' requests (lane load, through the gateway), over the whole run, ≥ `min_good`.

    The total excludes cut and stalled answers and abandoned requests; their counts are shown. Unknown if only timeouts in
    seconds with an overloaded client put it below.
    """
    target = f"at least {params.min_good:.4g} of the requests are answered well"
    found = shares.continuity(run.frames.requests)
    excluded = f"not counted: {found.cut} cut, {found.stalled} stalled, {found.abandoned} abandoned"
    if found.good.ratio is None:
        return unknown(
            "continuity", params.id, target, f"users sent no request through the gateway; {excluded}"
        )
    users = shares.users_requests(run.frames.requests[["lane", "via", "good", "outcome"]])
    bad = users.loc[~users["good"], "outcome"].value_counts()
    kinds = ", ".join(f"{n} {kind}" for kind, n in bad.items() if n) or "none failed"
    doubt = (
        f"; {found.good.doubtful} timed out while the client was overloaded" if found.good.doubtful else ""
    )
    return Finding(
        "continuity", params.id, target,
        f"{found.good.ratio:.4f} ({found.good.hits} of {found.good.total}; {excluded})",
        judge_share(found.good, params.min_good),
        evidence=f"{len(users)} requests of lane load through the gateway: {kinds}{doubt}",
        value=found.good.ratio, unit="share", n=found.good.total,
    )  # fmt: skip
