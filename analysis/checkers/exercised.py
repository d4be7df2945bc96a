"""The step made the intended tiers answer; otherwise a pass of other expectations proves nothing."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, Status, unknown
from analysis.metrics.trials import Value

Count = Annotated[int, Field(gt=0, strict=True)]


class Params(Common):
    """`exercised: {gaming-mode: {ollama: 5}, cpu-tier-too: {openai: 3}}`: step → tier → number of answers"""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, Count]] = Field(init=False)

    @property
    def steps(self) -> dict[str, dict[str, int]]:
        return self.__pydantic_extra__ or {}

    def mentions(self) -> Iterator[tuple[str, str, str]]:
        for step, tiers in self.steps.items():
            yield "", "step", step
            for tier in tiers:
                yield f"{step}: ", "tier", tier


def check(params: Params, run: Evidence) -> Finding:
    """In every trial of each step, each tier gave at least the given number of good answers through the gateway.

    Requests sent from commanded to the verified restore count. Fewer is not a failure of the stack but a lack of evidence: unknown.
    """
    required = [(step, tier, n) for step, tiers in params.steps.items() for tier, n in tiers.items()]
    target = ", ".join(f"{n} by {tier} in {step}" for step, tier, n in required)
    if not required:
        return unknown("exercised", params.id, "nothing", "no step is named")
    requests = run.frames.requests
    good = run.frames.through_gateway & requests["good"]
    values, lines, enough = [], [], True
    for step, tier, n in required:
        spans = [(t, t.gone_from) for t in run.trials_of(step) if t.gone_from is not None]
        at = requests.loc[good & (requests["tier"] == tier), "sent_at"].to_numpy(float)
        counts = [
            int(np.searchsorted(at, t.gone_until, "right") - np.searchsorted(at, gone_from))
            for t, gone_from in spans
        ]
        enough = enough and bool(counts) and min(counts) >= n
        values += [Value(step, t.trial, float(c), why=tier) for (t, _), c in zip(spans, counts, strict=True)]
        fewest = (
            f"{min(counts)}"
            if len(counts) == 1
            else f"{min(counts, default=0)} in the fewest of {len(counts)}"
        )
        lines.append(f"{fewest} by {tier} in {step}" if counts else f"{step} never began")
    return Finding(
        "exercised", params.id, target, ", ".join(lines), Status.PASS if enough else Status.UNKNOWN,
        evidence="good answers through the gateway, sent while the step held its target",
        value=None, unit="answers", n=len(values), trials=tuple(values),
    )  # fmt: skip
