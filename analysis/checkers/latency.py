"""A quantile of a tier's latency is at most `max_ms` milliseconds."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_between, unknown
from analysis.metrics import latency, quantiles, shares
from contract.fields import Name
from contract.quantile import needs

WORDS = {"total": "to its end", "ttft": "to its first token"}


class Params(Common):
    """`latency: {tier: vllm, quantile: 0.95, max_ms: 2000}`; `of: ttft`; `from: sent`; without `tier:` any tier's answer"""

    renamed: ClassVar = {"intended": "scheduled"}

    tier: Name | None = None
    quantile: float = Field(gt=0, lt=1, strict=True)
    max_ms: float = Field(gt=0, strict=True)
    of: Literal["total", "ttft"] = "total"
    from_: Literal["scheduled", "sent"] = Field(default="scheduled", alias="from")

    def mentions(self):  # type: ignore[no-untyped-def]
        """The tier that must exist."""
        if self.tier is not None:
            yield "tier: ", "tier", self.tier


def check(params: Params, run: Evidence) -> Finding:
    """That quantile of the users' good answers by `tier` through the gateway is ≤ `max_ms`.

    By default from when each request was *scheduled*, so that a hang that delayed the next request is not hidden. Failures
    have no latency: `continuity` and `goodput` count them. Requests touched by overloaded seconds of the client may have been
    faster or slower: the quantile is computed with them as 0 and as infinite, and if the limit lies between, the result is
    unknown. It is also unknown with too few answers for the quantile to differ from the slowest (p95: 21, p99: 101).
    """
    name = f"p{params.quantile * 100:g}"
    whose = params.tier or "any tier"
    target = (
        f"{name} of {whose}'s answers within {params.max_ms:g} ms {WORDS[params.of]}, from {params.from_}"
    )
    requests = run.frames.requests[
        [
            "lane",
            "via",
            "tier",
            "good",
            "touched",
            "latency_ms",
            "ttft_ms",
            "scheduled_at",
            "sent_at",
            "ended_at",
        ]
    ]
    which = shares.of_users(requests) & requests["good"]
    good = requests[which if params.tier is None else which & (requests["tier"] == params.tier)]
    took = (latency.latency_ms if params.of == "total" else latency.first_token_ms)(
        good, of=params.from_
    ).dropna()
    need = needs(params.quantile)
    if len(took) < need:
        return unknown("latency", params.id, target, f"{len(took)} good answers; {name} needs {need}")
    late = good.loc[took.index, "touched"].to_numpy(bool)
    low, middle, high = (
        quantiles.quantile(np.where(late, other, took), params.quantile)
        for other in (0.0, took.to_numpy(float), np.inf)
    )
    return Finding(
        "latency", params.id, target, f"{middle:.0f} ms", judge_between(low, high, params.max_ms),
        evidence=f"{len(took)} good answers of users"
        + (f"; {len(good) - len(took)} more have no content and no TTFT" if len(good) > len(took) else "")
        + (f"; {int(late.sum())} while the client was overloaded" if late.any() else ""),
        value=middle, unit="ms", n=len(took), interval=(low, high if np.isfinite(high) else None) if late.any() else None,
    )  # fmt: skip
