"""At least a share `min` of the users' requests got a good answer within the objectives."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_share, unknown
from analysis.metrics import shares


class Params(Common):
    """`goodput: {min: 0.95}`"""

    min: float = Field(gt=0, le=1, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """Good and within the timeline's `objectives`, of the users' requests through the gateway over the whole run, ≥ `min`.

    Failures, cuts and stalls are misses; abandoned requests are left out. Unknown if the timeline has no objective, or if only
    slow, stalled or timed-out requests in seconds with an overloaded client put it below.
    """
    target = f"at least {params.min:.4g} of the requests are answered well and in time"
    if run.ttft_max_ms is None:
        return unknown("goodput", params.id, target, "the timeline has no objectives: ttft_ms")
    found = shares.goodput(run.frames.requests, run.ttft_max_ms)
    if found.ratio is None:
        return unknown("goodput", params.id, target, "users sent no request through the gateway")
    doubt = f"; {found.doubtful} misses while the client was overloaded" if found.doubtful else ""
    return Finding(
        "goodput", params.id, target, f"{found.ratio:.4f} ({found.hits} of {found.total})",
        judge_share(found, params.min), evidence=f"TTFT within {run.ttft_max_ms:g} ms, of the users' requests{doubt}",
        value=found.ratio, unit="share", n=found.total,
    )  # fmt: skip
