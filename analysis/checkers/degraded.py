"""While a step holds a tier, the fallback classifies documents nearly as accurately."""

from dataclasses import dataclass

import pandas as pd
from pydantic import Field

from analysis.evidence import Evidence
from analysis.judging.expectation import Params as Common
from analysis.judging.finding import Finding, Status, unknown
from analysis.metrics import documents
from analysis.metrics.paired import Paired, pairs_to_decide
from contract.fields import Name

NOTHING = "no document was classified through the gateway: run the scenario classify"


class Params(Common):
    """`degraded: {id: NFR67, step: gaming-mode, to: ollama, max_drop: 0.15}`"""

    step: Name
    to: Name  # the tier that must take over
    max_drop: float = Field(gt=0, lt=1, strict=True)  # a share: 0.15 is 15 points


@dataclass(frozen=True, slots=True)
class Compared:
    """The first answers for each document by the step's target, over the whole run, and by the fallback, during the step."""

    target: str
    of_target: pd.DataFrame
    of_fallback: pd.DataFrame
    cut: int  # cut answers of the fallback, during the step
    pairs: Paired | None


def check(params: Params, run: Evidence) -> Finding:
    """The share of documents that `to` has right during `step` is at most `max_drop` below that of the step's target.

    A document is right if correspondent, document type, date and language are. JSON that the client cannot use is wrong; a cut
    answer is not counted. For each document a tier's first answer counts: for `to` among the requests sent from when the target
    was lost until its restore was verified, for the target among all of the run. Over the documents that both answered: pass if
    the whole 95 % interval of the difference (Tango's, for pairs) is above −`max_drop`, fail if it is below, else unknown: too
    few documents.
    """
    points = f"{100 * params.max_drop:g} points"
    trials = run.trials_of(params.step)
    target = trials[0].target if trials else f"the target of {params.step}"
    goal = f"{params.to} classifies documents at most {points} worse than {target}"
    if run.classified.empty:
        return unknown("degraded", params.id, goal, NOTHING)
    if not trials:
        return unknown("degraded", params.id, goal, f"step {params.step} never began")
    found = compared(run, params.step, params.to)
    if found is None:
        return unknown("degraded", params.id, goal, "; ".join(run.loss(t) for t in trials))
    if found.pairs is None:
        return unknown("degraded", params.id, goal, _missing(params, found))
    low, high = found.pairs.interval
    if low > -params.max_drop:
        status = Status.PASS
    else:
        status = Status.FAIL if high < -params.max_drop else Status.UNKNOWN
    doubt = "" if status is not Status.UNKNOWN else f"; {_more(found.pairs, params.max_drop)}"
    return Finding(
        "degraded", params.id, goal,
        f"{signed(found.pairs.difference)} points [{signed(low)}, {signed(high)}] over {found.pairs.n} documents", status,
        evidence=_evidence(params, found) + doubt,
        value=100 * found.pairs.difference, unit="points", n=found.pairs.n, interval=(100 * low, 100 * high),
    )  # fmt: skip


def compared(run: Evidence, step: str, to: str) -> Compared | None:
    """None if no trial has evidence that the target was lost."""
    trials = run.trials_of(step)
    known = [(t, run.lost_at(t)) for t in trials]
    spans = [(lost_at, t.gone_until) for t, lost_at in known if lost_at is not None]
    if not spans:
        return None
    of_target = documents.first_answers(run.classified, trials[0].target)
    of_fallback = documents.first_answers(run.classified, to, spans)
    cut = documents.cut(run.classified, to, spans)
    return Compared(trials[0].target, of_target, of_fallback, cut, documents.compared(of_target, of_fallback))


def signed(share: float) -> str:
    """`−2.1`: points, with a typographic minus sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def _missing(params: Params, found: Compared) -> str:
    for answers, tier, when in (
        (found.of_target, found.target, ""),
        (found.of_fallback, params.to, f" while {found.target} was away"),
    ):
        if answers.empty:
            return f"{tier} classified no document{when}"
    return f"{params.to} and {found.target} have no document in common"


def _evidence(params: Params, found: Compared) -> str:
    pairs = found.pairs
    assert pairs is not None
    (right, n), (of_fallback, m) = map(documents.accuracy, (found.of_target, found.of_fallback))
    lines = [
        f"{found.target} has {right} of {n} documents right, {params.to} {of_fallback} of {m} while {found.target} was away",
        f"of the {pairs.n} that both answered, {pairs.lost} are right by {found.target} alone, {pairs.gained} by {params.to} alone",
    ]
    if found.cut:
        lines.append(f"{found.cut} cut answers are left out")
    return "; ".join(lines)


def _more(pairs: Paired, max_drop: float) -> str:
    need = pairs_to_decide(pairs, -max_drop)
    if need is None:
        return "the difference is at the limit: more documents would hardly decide it"
    return f"too few documents: about {need} would decide it at the same rates"
