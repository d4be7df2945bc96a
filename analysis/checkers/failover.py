"""When a step takes a tier away, users are answered by the next one within so many seconds."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_at_most, unknown
from analysis.metrics import outages
from analysis.metrics.trials import Value, summarise
from analysis.metrics.windows import Trial
from contract.fields import Name


class Params(Common):
    """`failover: {id: NFR65, step: gaming-mode, to: ollama, max_s: 5}`"""

    step: Name
    to: Name  # the tier that must take over
    max_s: float = Field(gt=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """In every trial of `step`: lost → first token of the first good answer by `to`, to a request from lost on, ≤ `max_s`.

    A trial in which nothing showed the loss is unknown, and so is one before which the gateway was not on the tier (the
    last good answer was another's): nothing had to fail over. One in which `to` never answered before the restore was
    verified is "> x s": a fail where x is beyond the limit, else unknown. Unknown, too, is one that rests on requests of an
    overloaded load generator, one beyond the limit in which the probe did not ask, and one so near to the limit that the
    clocks of several machines cannot tell on which side it is.
    """
    target = f"{params.to} answers within {params.max_s:g} s of the loss in {params.step}"
    trials = run.trials_of(params.step)
    if not trials:
        return unknown("failover", params.id, target, f"step {params.step} never began")
    values, told = [], []
    for t in trials:
        told.append(run.loss(t))
        lost_at = run.lost_at(t)
        if lost_at is None:
            values.append(Value(t.step, t.trial, None, why="nothing showed the loss"))
            continue
        if not outages.was_in_use(run.around(t), t, run.frames.ranks):
            values.append(
                Value(t.step, t.trial, None, why=f"the gateway was not seen to use {t.target} before")
            )
            told.append(f"the gateway was not seen to use {t.target} before")
            continue
        took = outages.failover(run.fit(t), run.frames.covered, t, lost_at, params.to)
        doubt = run.doubt(t, lost_at, took, params.max_s) or _clocks(run, t, took, params.max_s)
        if doubt is not None:
            values.append(Value(t.step, t.trial, None, why=doubt))
            told.append(doubt)
            continue
        values.append(Value(t.step, t.trial, took.s, took.censored))
        told.append(
            f"no answer by {params.to}"
            if took.record is None
            else f"{took.record}'s first token at {run.instant(took.at)}{_detected(run, took, lost_at, params.to)}"
        )
    seen = summarise(values)
    return Finding(
        "failover", params.id, target, seen.told("s"), judge_at_most(values, params.max_s),
        evidence="; ".join(told), value=seen.maximum, unit="s", n=seen.n, interval=seen.interval,
        trials=tuple(values),
    )  # fmt: skip


def _clocks(run: Evidence, trial: Trial, took: outages.Length, max_s: float) -> str | None:
    give_s = outages.clocks_s(run.around(trial))
    if took.censored or abs(took.s - max_s) >= give_s:
        return None
    return f"{took.s:.3g} s, give or take the {give_s:.2g} s to which the workers' clocks are known"


def _detected(run: Evidence, took: outages.Length, lost_at: float, to: str) -> str:
    """`, detected after 0.21 s`: what of it was not the tier's own time to a first token."""
    s, by_ledger = run.detection(took, lost_at, to)
    told = "" if s is None else f", detected after {s:.2g} s"
    return told + ("" if by_ledger is None else f" ({by_ledger:.2g} s by its ledger)")
