"""Every request that failed would have been saved by a client's retry."""

import pandas as pd
from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, judge_at_most, unknown
from analysis.metrics import client_retries
from analysis.metrics.client_retries import Fate
from analysis.metrics.trials import Value, summarise
from contract.duration import Duration, text
from contract.fields import Name
from contract.records import GATEWAY


class Params(Common):
    """`retried: {step: restart, within: 60s}`; without `step:` every step; `max_lost: 2` allows so many per trial"""

    step: Name | None = None
    within: Duration = Field(gt=0)  # how long after its first request a client retries
    max_lost: int = Field(default=0, ge=0, strict=True)


def check(params: Params, run: Evidence) -> Finding:
    """In every trial, at most `max_lost` requests were lost that a client's retry `within` that time would not have saved.

    Definition of saved and lost: `client_retries.fates`. A request that was refused, answered with a 5xx or broken before its
    first token is saved if any request sent a little later got a good answer. A cut or stalled one is lost. A trial is unknown
    if no request was sent while its target was gone and none was under way when it went, or if it exceeds the limit only by
    requests whose fate is unknown. If in no trial a request was under way when the fault was commanded, the whole result is
    unknown.
    """
    target = f"at most {params.max_lost} requests lost that a retry within {text(params.within)} would not have saved"
    trials = [t for t in run.trials if params.step in (None, t.step) and t.gone_from is not None]
    if not trials:
        return unknown("retried", params.id, target, "no fault was begun")
    values, lines, under_way, kinds, cut = [], [], 0, dict.fromkeys(Fate, 0), 0
    for t in trials:
        assert t.gone_from is not None
        requests = run.around(t)
        requests = requests.assign(status=run.frames.requests["status"].loc[requests.index])
        n = int(((requests["via"] == GATEWAY) & requests["sent_at"].between(t.gone_from, t.gone_until)).sum())
        flying = client_retries.in_flight(requests, t.gone_from)
        under_way += flying
        if n == 0 and not flying:
            values.append(Value(t.step, t.trial, None, why="no request was sent"))
            lines.append(f"{t.name}: no request was sent")
            continue
        failed = client_retries.fates(requests, t, params.within, run.frames.ended_at)
        count = {fate: int((failed["fate"] == fate).sum()) for fate in Fate}
        kinds = {fate: kinds[fate] + count[fate] for fate in Fate}
        cut += int(failed["outcome"].isin(client_retries.CUTS).sum())
        lines.append(
            f"{t.name}: {flying} under way when it went, {n} sent while it was gone; {_fates(failed)}"
        )
        doubtful = count[Fate.LOST] <= params.max_lost < count[Fate.LOST] + count[Fate.UNKNOWN]
        lost = None if doubtful else float(count[Fate.LOST])
        why = f"the fate of {count[Fate.UNKNOWN]} is unknown" if doubtful else None
        values.append(Value(t.step, t.trial, lost, why=why))
    if not under_way:
        nothing = "no request was under way when the fault was commanded: use more load"
        return unknown("retried", params.id, target, "; ".join([nothing, *lines]))
    seen = summarise(values)
    measured = f"{kinds[Fate.LOST]} lost ({cut} cut or stalled), {kinds[Fate.SAVED]} saved by a retry" + (
        f", {kinds[Fate.UNKNOWN]} unknown" if kinds[Fate.UNKNOWN] else ""
    )
    return Finding(
        "retried", params.id, target, measured, judge_at_most(values, params.max_lost),
        evidence="; ".join(lines), value=seen.maximum, unit="requests", n=seen.n, trials=tuple(values),
    )  # fmt: skip


def _fates(failed: pd.DataFrame) -> str:
    """`12 refused saved, 1 cut lost (req-…)`."""
    if failed.empty:
        return "none failed"
    parts = []
    for (fate, outcome), rows in failed.groupby(["fate", "outcome"], observed=True):
        named = f" ({', '.join(rows['request_id'].astype(str).head(3))})" if fate != Fate.SAVED else ""
        parts.append(f"{len(rows)} {outcome} {fate}{named}")
    return ", ".join(parts)
