"""The top of the page: the verdict, what users saw, and where."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.evidence import Evidence
from analysis.figures import timeline
from analysis.html import anchors, meanings
from analysis.judging.finding import Finding
from analysis.judging.verdict import Verdict, gateway, reasons
from analysis.metrics import health
from analysis.metrics.trials import Value
from analysis.metrics.windows import Trial
from analysis.reporting import summary
from analysis.reporting.formatting import UNKNOWN, length

MARKS = {"pass": "✓", "fail": "✗", "unknown": "?", "not_restored": "‼", "aborted": "■"}
MEANS = {
    "pass": "Every expectation was met, and every target is verified to be restored.",
    "fail": "At least one expectation was not met. Every target is verified to be restored, unless a row below states otherwise.",
    "unknown": "No expectation is known to have failed, but evidence is missing. Without evidence there is no pass.",
    "not_restored": "A fault was injected and its restore was not verified: a target may still be down. "
    "`make restore` restores what any run left open.",
    "aborted": "A guard ended the run early. Every target was restored.",
}
MOST_PLACES = 6
MOST_REASONS = 4


@dataclass(frozen=True, slots=True)
class Headline:
    """`reasons`: (status, why) of each expectation that did not pass, failed ones first. `gateway`: the version that answered.
    `places`: the faults, each with the seconds that the timeline shows for it.
    """

    status: str
    mark: str
    means: str
    warnings: Sequence[str]
    saw: str
    goodput: str | None
    gateway: str
    reasons: Sequence[tuple[str, str]]
    more_reasons: int
    places: Sequence[tuple[str, float, float]]
    more_places: int


@dataclass(frozen=True, slots=True)
class Row:
    """One expectation. `trials`: (trial, value, reason for doubt)."""

    finding: Finding
    about: str
    mark: str
    interval: str
    n: str
    evidence: Sequence[str]
    trials: Sequence[tuple[str, str, str]]


def headline(run: Evidence, verdict: Verdict) -> Headline:
    trials = [t for t in run.trials if t.gone_from is not None]
    return Headline(
        status=verdict.status.replace("_", " "),
        mark=MARKS[verdict.status],
        means=MEANS[verdict.status],
        warnings=warnings(run),
        saw=_saw(run),
        goodput=None if not run.frames.through_gateway.any() else summary.goodput(run),
        gateway=gateway(verdict),
        reasons=reasons(verdict)[:MOST_REASONS],
        more_reasons=max(0, len(reasons(verdict)) - MOST_REASONS),
        places=[_place(run, t) for t in trials[:MOST_PLACES]],
        more_places=max(0, len(trials) - MOST_PLACES),
    )


def warnings(run: Evidence) -> list[str]:
    """Conditions that limit how far the numbers below can be trusted."""
    frames, found = run.frames, []
    if frames.cut_short:
        found.append(
            f"Cut short: {frames.cut_short}. This report uses what was recorded until {run.instant(frames.ended_at)}."
        )
    if len(frames.gateway_versions) > 1:
        found.append(summary.several_versions(run))
    if frames.torn:
        found.append(
            f"Torn tails were skipped: {', '.join(frames.torn)}. About the last second of each is missing."
        )
    found += [f"Missing: {words}." for words in frames.missing]
    return found + [f"Health: {words}." for words in health.doubts(run.health)]


def rows(verdict: Verdict) -> list[Row]:
    """Every expectation, in the order of the timeline."""
    known = {m.name for m in meanings.expectations()}
    return [
        Row(
            finding=f,
            about=anchors.expectation(f.name) if f.name in known else "definitions",
            mark=MARKS[f.status],
            interval=_interval(f),
            n=UNKNOWN if f.n is None else str(f.n),
            evidence=[part for part in f.evidence.split("; ") if part],
            trials=[(f"{v.step} #{v.trial}", _value(v, f.unit), v.why or "") for v in f.trials],
        )
        for f in verdict.findings
    ]


def _interval(f: Finding) -> str:
    if f.interval is None:
        return UNKNOWN
    low, high = f.interval
    return f"[{low:.3g}, {'?' if high is None else f'{high:.3g}'}] {f.unit or ''}".rstrip()


def _value(v: Value, unit: str | None) -> str:
    return v.text if v.value is None else f"{v.text} {unit or ''}".rstrip()


def _saw(run: Evidence) -> str:
    if not run.frames.through_gateway.any():
        return "No request was sent through the gateway."
    text = timeline.title(run, of_users=True)
    return f"{text[:1].upper()}{text[1:]}."


def _place(run: Evidence, t: Trial) -> tuple[str, float, float]:
    assert t.gone_from is not None
    start = t.gone_from - run.frames.started_at
    end = t.gone_until - run.frames.started_at
    back = (
        f"back after {length(t.gone_until - t.gone_from)}"
        if t.restored_at is not None
        else "not verified to be back"
    )
    return f"{run.instant(t.gone_from)} {t.name}: {t.fault} on {t.target}, {back}", start, end
