"""Findings → the verdict: its status, its exit code and its three forms: verdict.json, junit.xml, a text table."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

from analysis import part_errors
from analysis.evidence import Evidence
from analysis.judging import reconciliation
from analysis.judging.expectation import Expectation
from analysis.judging.finding import UNKNOWN, Finding, Status, unknown, worst
from analysis.judging.verdict_json import VerdictJson
from analysis.metrics.windows import Trial
from analysis.progress import OnProgress, each, no_progress
from contract import printable
from contract.refusal import EXIT_ABORTED, EXIT_FAIL, EXIT_NOT_RESTORED, EXIT_PASS, EXIT_UNKNOWN

GUARD = "guard:"
MOST_CHARACTERS = 300  # in a reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a run."""

    run: str
    status: str  # not_restored | aborted | fail | unknown | pass
    exit_code: int
    findings: tuple[Finding, ...]
    gateway: str | None = None  # its version, in words; None: no answer named one


def judge(
    evidence: Evidence, expectations: list[Expectation], on_progress: OnProgress = no_progress
) -> Verdict:
    """Checks every expectation, and for every run that all targets are restored and that it finished."""
    named = {e.name: e for e in expectations}
    found = [
        _checked(evidence, name, named[name].params, partial(named[name].check, named[name].params, evidence))
        for name in each(on_progress, "judging", list(named))
    ]
    if not found:
        found.append(unknown("expect", None, "at least one expectation", "the timeline has no expectation"))
    found += [
        _checked(evidence, "restored", None, lambda: restored(evidence)),
        _checked(evidence, "run", None, lambda: run_state(evidence)),
    ]
    if evidence.frames.has_ledgers:
        found.append(
            _checked(evidence, reconciliation.NAME, None, lambda: reconciliation.reconciled(evidence))
        )
    status, code = conclude(found)
    frames = evidence.frames
    return Verdict(frames.name, status, code, tuple(found), frames.gateway_version)


def conclude(findings: list[Finding]) -> tuple[str, int]:
    """The worst wins: not restored (4) before aborted by a guard (3) before fail (1) before unknown (5) before pass (0)."""
    by_name = {f.name: f.status for f in findings}
    if by_name.get("restored") is Status.FAIL:
        return "not_restored", EXIT_NOT_RESTORED
    if by_name.get("run") is Status.FAIL:
        return "aborted", EXIT_ABORTED
    status = worst(f.status for f in findings)
    return str(status), {Status.FAIL: EXIT_FAIL, Status.UNKNOWN: EXIT_UNKNOWN, Status.PASS: EXIT_PASS}[status]


def _checked(evidence: Evidence, name: str, params: Any, check: Callable[[], Finding]) -> Finding:
    """The finding of a checker; unknown if it raises, with the traceback kept for the report."""

    def instead(error: str) -> Finding:
        why = f"the checker raised {error}; its traceback is in report/{part_errors.NAME}"
        return unknown(name, getattr(params, "id", None), "", why)

    return evidence.thrown.guarded(f"expectation {name}", check, instead)


def restored(evidence: Evidence) -> Finding:
    """Every inject that was begun was restored, and an answer verified it, no matter which process restored it or got the answer.

    Unknown: someone else changed the target meanwhile, so it was left alone; or the target was ready but got no request, and the
    run's records have no later answer by it. If the controller's own check failed, readiness alone does not count as restored.
    """
    target = "every inject begun was restored and verified"
    begun = [t for t in evidence.trials if t.begun_at is not None]
    open_ = [t for t in begun if t.restored_at is None]
    found = [(t, *_not_verified(evidence, t)) for t in open_]
    found.sort(key=lambda one: one[1] is not Status.FAIL)
    # A ramp has no timeline and no faults.
    untested = not begun and evidence.frames.timeline is not None
    status = worst([Status.UNKNOWN if untested else Status.PASS, *(status for _, status, _ in found)])
    lines = [f"{t.name} ({t.fault} on {t.target}): {why}" for t, _, why in found]
    by = sorted({t.restored_by for t in begun if t.restored_by not in (None, "timeline")} - {None})
    lines += [f"{t.name}: {x}" for t in evidence.trials for x in t.errors]
    lines += [
        f"{t.name}: verified by {t.witness} at {evidence.instant(t.restored_at)}"
        for t in begun
        if t.witness is not None
    ]
    reason = "no fault was begun, so nothing was tested" if untested else "; ".join(lines[: len(open_)])
    lines += [f"restored by {', '.join(map(str, by))}"] if by else []
    return Finding(
        "restored", None, target, f"{len(begun) - len(open_)} of {len(begun)}", status,
        evidence="; ".join(lines) or ("no fault was begun" if not begun else "chaos.jsonl has each verified restore"),
        value=float(len(begun) - len(open_)), unit="injects", n=len(begun), reason=reason,
    )  # fmt: skip


def _not_verified(evidence: Evidence, trial: Trial) -> tuple[Status, str]:
    if trial.foreign:
        return Status.UNKNOWN, "changed by someone else, left alone"
    if trial.ready_at is None:
        return Status.FAIL, "not restored" + (
            f": the controller reports {trial.refused!r}" if trial.refused else ""
        )
    at = evidence.instant(trial.ready_at)
    silent = f"no answer by {trial.target} was recorded after that"
    if trial.refused is not None:
        return Status.FAIL, (
            f"not restored: the controller reports {trial.refused!r}; {trial.ready_by} found it ready at {at} without an answer, "
            f"and {silent}"
        )
    return Status.UNKNOWN, (
        f"restored by {trial.ready_by} at {at}, not verified by an answer ({trial.unanswered}); {silent}"
    )


def run_state(evidence: Evidence) -> Finding:
    """The run finished, and no records are missing. Aborted by a guard: exit code 3.

    Cut short otherwise, or with a worker's records missing: a pass becomes unknown, since records are missing.
    """
    frames = evidence.frames
    why = frames.cut_short
    guarded = str(frames.manifest.get("reason") or "").startswith(GUARD)
    status = Status.FAIL if guarded else Status.UNKNOWN if why or frames.missing else Status.PASS
    torn = f"; torn tails skipped: {', '.join(frames.torn)}" if frames.torn else ""
    state = "; ".join([f"cut short: {why}" if why else "manifest.json says finished", *frames.missing])
    return Finding(
        "run", None, "finished", str(frames.manifest.get("status")), status, evidence=state + torn,
        reason="" if status is Status.PASS else state,
    )  # fmt: skip


def as_json(verdict: Verdict, evidence: Evidence) -> dict[str, Any]:
    """verdict.json; `verdict_json` documents the fields."""
    frames = evidence.frames
    fields = {
        "run": verdict.run,
        "status": verdict.status,
        "exit_code": verdict.exit_code,
        "cut_short": frames.cut_short,
        "torn": list(frames.torn),
        "gateway_versions": frames.gateway_versions or None,
        "findings": verdict.findings,
    }
    return VerdictJson.model_validate(fields).plain()


def as_junit(verdict: Verdict) -> str:
    """One test case for each finding: fail is a failure, unknown an error, so that CI does not count it as passed.

    It has no durations: a finding has none.
    """
    statuses = [f.status for f in verdict.findings]
    suite = ET.Element(
        "testsuite", name=verdict.run, tests=str(len(statuses)),
        failures=str(statuses.count(Status.FAIL)), errors=str(statuses.count(Status.UNKNOWN)), skipped="0",
    )  # fmt: skip
    for f in verdict.findings:
        name = f"{f.name} ({f.id})" if f.id else f.name
        case = ET.SubElement(suite, "testcase", classname="brownout", name=_xml_text(name))
        message, evidence = _xml_text(f"expected {f.target}; measured {f.measured}"), _xml_text(f.evidence)
        if f.status is Status.FAIL:
            ET.SubElement(case, "failure", type=str(f.status), message=message).text = evidence
        elif f.status is Status.UNKNOWN:
            ET.SubElement(case, "error", type=str(f.status), message=message).text = evidence
        else:
            ET.SubElement(case, "system-out").text = f"{message}; {evidence}"
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


_XML_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml_text(text: str) -> str:
    """The text without what XML 1.0 forbids: a quoted error may have any byte."""
    return _XML_FORBIDDEN.sub("\ufffd", text)


def as_text(verdict: Verdict) -> str:
    """The table for the terminal, with the evidence of each finding that is not passed below it."""
    rows = [
        (str(f.status), f"{f.name} {f.id}" if f.id else f.name, f.target, f.measured)
        for f in verdict.findings
    ]
    widths = [max(len(r[i]) for r in rows) for i in range(3)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(r[:3], widths, strict=True)), r[3]]).rstrip() for r in rows
    ]
    for f in verdict.findings:
        if f.status is not Status.PASS:
            lines.append(f"{f.status}: {f.name}: {f.evidence}")
    lines.append(gateway(verdict))
    lines.append(f"{verdict.run}: {verdict.status} (exit code {verdict.exit_code})")
    return "\n".join(map(printable.line, lines))


def gateway(verdict: Verdict) -> str:
    """`gateway: litellm 1.108.7`, for people."""
    return f"gateway: {verdict.gateway or 'version unknown'}"


def reason(f: Finding) -> str:
    """Why a finding is not passed, in one line: `cloud_only_in_need: fail: 135 answers of the cloud were not needed: …`.

    The finding's own reason; else what was measured and expected; for an unknown finding the evidence too, or only the
    evidence if nothing was measured.
    """
    name = f"{f.id} {f.name}" if f.id else f.name
    missed = f"{f.measured}; expected: {f.target}"
    if f.status is Status.UNKNOWN:
        missed = f.evidence if f.measured == UNKNOWN else f"{missed}; {f.evidence}"
    return f"{name}: {f.status}: {f.reason or missed}"


def reasons(verdict: Verdict) -> list[tuple[Status, str]]:
    """The reason of each finding that is not passed, failures first; reports begin with them."""
    order = [Status.FAIL, Status.UNKNOWN]
    missed = [f for f in verdict.findings if f.status in order]
    return [
        (f.status, _within(reason(f), MOST_CHARACTERS))
        for f in sorted(missed, key=lambda f: order.index(f.status))
    ]


def _within(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
