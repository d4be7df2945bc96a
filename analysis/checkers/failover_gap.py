"""After a step takes a tier down, the probe has no good answer for at most `max_s` seconds."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_between, unknown, worst
from analysis.metrics import outages, shares
from contract.fields import Name


class Params(Common):
    """`failover_gap: {step: gaming-mode, max_s: 8}`"""

    step: Name
    max_s: float = Field(gt=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """In every trial of `step`, in each lane of the probe: the last good answer before the loss → three good in a row, ≤ `max_s`.

    Judged by the bounds of the gap: pass if the upper bound is within the limit, fail if the lower bound is beyond it, else
    unknown. A trial without evidence of the loss, or in which neither lane lost a request, is unknown. New and kept
    connections have separate gaps.
    """
    target = f"at most {params.max_s:g} s between good answers in {params.step}"
    trials = run.trials_of(params.step)
    if not trials:
        return unknown("failover_gap", params.id, target, f"step {params.step} never began")
    found, statuses, lines = [], [], []
    for t in trials:
        lost_at = run.lost_at(t)
        gaps = (
            []
            if lost_at is None
            else [
                g
                for lane in shares.PROBES
                if (g := outages.failover_gap(run.around(t), t, lost_at, lane, run.frames.ranks))
            ]
        )
        statuses += [judge_between(g.lower_s, g.upper_s, params.max_s) for g in gaps] or [
            judge_between(None, None, 0)
        ]
        lines += [f"{t.name}: {_bounds(g)} ({g.lane})" for g in gaps] or [f"{t.name}: no lane lost a request"]
        found += gaps
    if not found:
        return unknown("failover_gap", params.id, target, "; ".join(lines))
    longest = max(found, key=lambda g: float("inf") if g.upper_s is None else g.upper_s)
    return Finding(
        "failover_gap", params.id, target, f"{_bounds(longest)}, the longest of {len(found)}", worst(statuses),
        evidence="; ".join(lines), value=longest.upper_s, unit="s", n=len(found),
        interval=(longest.lower_s, longest.upper_s),
    )  # fmt: skip


def _bounds(gap: outages.Gap) -> str:
    upper = "an unknown end" if gap.upper_s is None else f"{gap.upper_s:.2f} s"
    return f"between {gap.lower_s:.2f} s and {upper}"
