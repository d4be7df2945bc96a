"""After its restore, a tier serves again within `max_s` seconds."""

from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_at_most, unknown
from analysis.metrics.trials import Value, summarise
from contract.fields import Name


class Params(Common):
    """`recovery: {max_s: 60}`; with `step:` only that one, else every step"""

    step: Name | None = None
    max_s: float = Field(gt=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """In every trial: restore verified → first token of the first of three consecutive answers by the returned tier, ≤ `max_s`.

    A trial whose run ended first is "> x s": a fail if x is beyond the limit, else unknown. A trial is unknown if its restore
    was never verified, if it rests on requests of an overloaded load generator, or if it is beyond the limit and the probe sent
    no request. A trial whose tier got no requests, because a higher tier served, is left out and listed.
    """
    target = f"the returned tier serves within {params.max_s:g} s of its verified restore"
    trials = [t for t in run.trials if params.step in (None, t.step) and t.begun_at is not None]
    if not trials:
        return unknown("recovery", params.id, target, "no fault was begun")
    values, lines = [], []
    for t in trials:
        if t.restored_at is None:
            values.append(Value(t.step, t.trial, None, why="the restore was not verified"))
            lines.append(f"{t.name}: the restore was not verified")
            continue
        took, doubt = run.recovery(t, params.max_s)
        if took is None:
            lines.append(f"{t.name}: left out, a higher tier served when {t.target} returned")
            continue
        if doubt is not None:
            values.append(Value(t.step, t.trial, None, why=doubt))
            lines.append(f"{t.name}: {doubt}")
            continue
        values.append(Value(t.step, t.trial, took.s, took.censored))
        first = "no three in a row" if took.record is None else f"{took.record} was the first of three"
        lines.append(f"{t.name}: restored at {run.instant(t.restored_at)}, {first}")
    seen = summarise(values)
    steps = list(dict.fromkeys(v.step for v in values))
    by_step = {s: summarise([v for v in values if v.step == s]) for s in steps}
    # Steps have different targets: a median over all of them has no meaning.
    measured = (
        seen.text("s") if len(steps) < 2 else "; ".join(f"{s} {o.text('s')}" for s, o in by_step.items())
    )
    return Finding(
        "recovery", params.id, target, measured, judge_at_most(values, params.max_s),
        evidence="; ".join(lines), value=seen.maximum, unit="s", n=seen.n, interval=seen.interval if len(steps) < 2 else None,
        trials=tuple(values),
    )  # fmt: skip
