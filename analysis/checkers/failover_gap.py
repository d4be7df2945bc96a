"""When a step takes a tier away, the probe is without good answers for at most so many seconds."""

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

    Judged by the bounds of the gap: pass where the upper one is within the limit, fail where the lower one is beyond it,
    unknown between. A trial in which nothing showed the loss, or in which neither lane lost anything, is unknown. New and kept
    connections each have their own gap.
    """
    target = f"at most {params.max_s:g} s between good answers in {params.step}"
    trials = run.trials_of(params.step)
    if not trials:
        return unknown("failover_gap", params.id, target, f"step {params.step} never began")
    found, statuses, told = [], [], []
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
        told += [f"{t.name}: {_told(g)} ({g.lane})" for g in gaps] or [
            f"{t.name}: no lane was seen to lose anything"
        ]
        found += gaps
    if not found:
        return unknown("failover_gap", params.id, target, "; ".join(told))
    longest = max(found, key=lambda g: float("inf") if g.upper_s is None else g.upper_s)
    return Finding(
        "failover_gap", params.id, target, f"{_told(longest)}, the longest of {len(found)}", worst(statuses),
        evidence="; ".join(told), value=longest.upper_s, unit="s", n=len(found),
        interval=(longest.lower_s, longest.upper_s),
    )  # fmt: skip


def _told(gap: outages.Gap) -> str:
    upper = "an end that was not seen" if gap.upper_s is None else f"{gap.upper_s:.2f} s"
    return f"between {gap.lower_s:.2f} s and {upper}"
