"""Each trial of a step cuts at most `max_per_trial` answers."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_at_most, unknown
from analysis.metrics import cuts
from analysis.metrics.trials import Value, summarise
from contract.records import GATEWAY, Outcome


class Params(Common):
    """`cuts: {max_per_trial: 5}`"""

    max_per_trial: int = Field(ge=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """In every trial of every step, at most `max_per_trial` requests through the gateway were cut or stalled.

    A request belongs to a trial if it ended between the inject's begin and the next fault on its target, or the run's end. A
    trial without requests is unknown, and so is one that exceeds the limit only by stalls that an overloaded client may have
    caused.
    """
    target = f"at most {params.max_per_trial} cut answers a trial"
    trials = [t for t in run.trials if t.gone_from is not None]
    if not trials:
        return unknown("cuts", params.id, target, "no fault was begun")
    values, lines = [], []
    for t in trials:
        requests = run.around(t)
        n = int((cuts.in_trial(requests, t)["via"] == GATEWAY).sum())
        if n == 0:
            values.append(Value(t.step, t.trial, None, why="no request was sent"))
            continue
        found = cuts.cuts(requests, t, trials)
        stalled = found["outcome"] == Outcome.STALLED
        count, own = len(found), int((stalled & found["touched"]).sum())
        line = f"{t.name}: {count} of {n} requests ({int(stalled.sum())} of them stalled)"
        lines.append(line + (f", {own} while the client was overloaded" if own else ""))
        if count - own <= params.max_per_trial < count:
            values.append(
                Value(t.step, t.trial, None, why="the client was overloaded during enough of the stalls")
            )
            continue
        values.append(Value(t.step, t.trial, float(count)))
    seen = summarise(values)
    measured = (
        "unknown" if seen.maximum is None else f"at most {seen.maximum:.0f} a trial, in {seen.n} trials"
    )
    return Finding(
        "cuts", params.id, target, measured, judge_at_most(values, params.max_per_trial),
        evidence="; ".join(lines) or "no request was sent in any trial",
        value=seen.maximum, unit="answers", n=seen.n, trials=tuple(values),
    )  # fmt: skip
