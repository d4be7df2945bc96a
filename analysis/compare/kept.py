"""The data kept of a run besides its samples: its verdict and counts."""

from collections.abc import Iterator

from analysis import judge
from analysis.compare.estimate import Count, Judgement, Kept
from analysis.evidence import Evidence
from analysis.metrics import attribution, availability
from analysis.metrics.shares import users_requests
from contract.records import Outcome
from contract.refusal import Refusal

MOST_STATUSES = 12


def verdict(run: Evidence) -> Judgement | str:
    """The run's verdict by this version; or why it cannot be judged."""
    try:
        found = judge.judge(run)
    except Refusal as e:
        return str(e)
    kept = tuple(
        Kept(f.name, f.id, f.target, f.measured, f.status, f.value, f.unit, f.n) for f in found.findings
    )
    return Judgement(found.status, found.exit_code, kept)


def counts(run: Evidence) -> tuple[Count, ...]:
    """Counts of the run: answers by lower tiers by class, users' requests by outcome, the load, the service.

    They are shown if they differ, and are not judged, since they also depend on the length of a run.
    """
    return tuple(_counts(run))


def _counts(run: Evidence) -> Iterator[Count]:
    for tier, row in attribution.by_class(run.lower, run.frames.ranks).iterrows():
        of = f"{tier} (cloud)" if tier in run.clouds else str(tier)
        for why in attribution.SHOWN:
            yield Count(f"answers {why}", of, float(row[why]), "answers")
    users = users_requests(run.frames.requests)[["outcome", "status"]]
    for outcome in Outcome:
        yield Count(f"requests {outcome}", "users", float((users["outcome"] == outcome).sum()), "requests")
    statuses = users.loc[users["outcome"] == Outcome.REJECTED, "status"].value_counts()
    for status, n in list(statuses.items())[:MOST_STATUSES]:
        yield Count(f"requests rejected with {status}", "users", float(n), "requests")
    d = run.delivered
    yield from (
        Count("requests scheduled", "load", float(d.scheduled), "requests"),
        Count("requests sent", "load", float(d.sent), "requests"),
        Count("arrivals dropped", "load", float(d.dropped), "requests"),
        Count("sent late, p99", "load", d.late_p99_ms, "ms"),
        Count("seconds overloaded", "load generator", float(d.overloaded) if d.seconds else None, "s"),
        Count("unavailable", "probe", None if run.down is None else run.down.s, "s"),
        Count("browned out", "probe", None if run.brown is None else run.brown.s, "s"),
        Count("not probed", "probe", run.unprobed.s, "s"),
    )
    if run.ttft_max_ms is not None:
        late = availability.brown_answers(run.frames.requests, run.ttft_max_ms)
        yield Count("answers outside the objective", "users", float(late), "answers")
