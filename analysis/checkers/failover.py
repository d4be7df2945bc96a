"""After a step takes a tier down, the next tier answers within `max_s` seconds."""

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

    A trial without evidence of the loss is unknown. So is one before which the gateway did not use the tier (another tier gave
    the last good answer): nothing had to fail over. A trial in which `to` never answered before the restore was verified is
    "> x s": a fail if x is beyond the limit, else unknown. Also unknown: a trial that rests on requests of an overloaded load
    generator; one beyond the limit in which the probe sent no request; and one closer to the limit than the uncertainty of the
    machines' clocks.
    """
    target = f"{params.to} answers within {params.max_s:g} s of the loss in {params.step}"
    trials = run.trials_of(params.step)
    if not trials:
        return unknown("failover", params.id, target, f"step {params.step} never began")
    values, lines = [], []
    for t in trials:
        lines.append(run.loss(t))
        lost_at = run.lost_at(t)
        if lost_at is None:
            values.append(Value(t.step, t.trial, None, why="no evidence of the loss"))
            continue
        if not outages.was_in_use(run.around(t), t, run.frames.ranks):
            values.append(
                Value(t.step, t.trial, None, why=f"the gateway was not seen to use {t.target} before")
            )
            lines.append(f"the gateway was not seen to use {t.target} before")
            continue
        took = outages.failover(run.fit(t), run.frames.covered, t, lost_at, params.to)
        doubt = run.doubt(t, lost_at, took, params.max_s) or _clocks(run, t, took, params.max_s)
        if doubt is not None:
            values.append(Value(t.step, t.trial, None, why=doubt))
            lines.append(doubt)
            continue
        values.append(Value(t.step, t.trial, took.s, took.censored))
        lines.append(
            f"no answer by {params.to}"
            if took.record is None
            else f"{took.record}'s first token at {run.instant(took.at)}{_detected(run, took, lost_at, params.to)}"
        )
    seen = summarise(values)
    return Finding(
        "failover", params.id, target, seen.text("s"), judge_at_most(values, params.max_s),
        evidence="; ".join(lines), value=seen.maximum, unit="s", n=seen.n, interval=seen.interval,
        trials=tuple(values),
    )  # fmt: skip


def _clocks(run: Evidence, trial: Trial, took: outages.Length, max_s: float) -> str | None:
    uncertainty_s = outages.clocks_s(run.around(trial))
    if took.censored or abs(took.s - max_s) >= uncertainty_s:
        return None
    return f"{took.s:.3g} s, ± {uncertainty_s:.2g} s by the workers' clocks"


def _detected(run: Evidence, took: outages.Length, lost_at: float, to: str) -> str:
    """`, detected after 0.21 s`: the failover without the tier's own time to a first token."""
    s, by_ledger = run.detection(took, lost_at, to)
    text = "" if s is None else f", detected after {s:.2g} s"
    return text + ("" if by_ledger is None else f" ({by_ledger:.2g} s by its ledger)")
