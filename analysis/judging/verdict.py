"""Findings → the verdict: its status, its exit code, and its three forms: verdict.json, junit.xml, a table in text."""

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
from analysis.progress import Told, each, silent
from contract.refusal import EXIT_ABORTED, EXIT_FAIL, EXIT_NOT_RESTORED, EXIT_PASS, EXIT_UNKNOWN

GUARD = "guard:"
MOST_CHARACTERS = 300  # of a reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the run proved."""

    run: str
    status: str  # not_restored | aborted | fail | unknown | pass
    exit_code: int
    findings: tuple[Finding, ...]
    gateway: str | None = None  # which version answered, in words; None: no answer named one


def judge(evidence: Evidence, expectations: list[Expectation], told: Told = silent) -> Verdict:
    """Every expectation, and what every run is asked: is everything back, and did it come to its end?"""
    named = {e.name: e for e in expectations}
    found = [
        _checked(evidence, name, named[name].params, partial(named[name].check, named[name].params, evidence))
        for name in each(told, "judging", list(named))
    ]
    if not found:
        found.append(unknown("expect", None, "something", "the timeline expects nothing"))
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
    """A checker that throws has found out nothing; its traceback is kept for the report."""

    def instead(error: str) -> Finding:
        why = f"the checker threw {error}; its traceback is in report/{part_errors.NAME}"
        return unknown(name, getattr(params, "id", None), "", why)

    return evidence.thrown.guarded(f"expectation {name}", check, instead)


def restored(evidence: Evidence) -> Finding:
    """Every inject that was begun was restored, and an answer verified it, whoever restored it and whoever got the answer.

    Unknown: what someone else changed meanwhile was left alone; what was ready and was sent no request, and no record of the run
    holds a later answer by it. Where the controller's own check failed, readiness alone is not restored.
    """
    target = "every inject begun was restored and verified"
    begun = [t for t in evidence.trials if t.begun_at is not None]
    open_ = [t for t in begun if t.restored_at is None]
    found = [(t, *_not_verified(evidence, t)) for t in open_]
    found.sort(key=lambda one: one[1] is not Status.FAIL)
    # A ramp has no timeline, and makes no faults.
    untested = not begun and evidence.frames.timeline is not None
    status = worst([Status.UNKNOWN if untested else Status.PASS, *(status for _, status, _ in found)])
    told = [f"{t.name} ({t.fault} on {t.target}): {why}" for t, _, why in found]
    by = sorted({t.restored_by for t in begun if t.restored_by not in (None, "timeline")} - {None})
    told += [f"{t.name}: {x}" for t in evidence.trials for x in t.trouble]
    told += [
        f"{t.name}: verified by {t.witness} at {evidence.instant(t.restored_at)}"
        for t in begun
        if t.witness is not None
    ]
    reason = "no fault was begun, so nothing was tested" if untested else "; ".join(told[: len(open_)])
    told += [f"restored by {', '.join(map(str, by))}"] if by else []
    return Finding(
        "restored", None, target, f"{len(begun) - len(open_)} of {len(begun)}", status,
        evidence="; ".join(told) or ("no fault was begun" if not begun else "chaos.jsonl has each verified restore"),
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
    """The run came to its end, with all that was recorded. Aborted by a guard: exit code 3.

    Cut short otherwise, or with a worker's records missing: a pass becomes unknown, since it would rest on silence.
    """
    frames = evidence.frames
    why = frames.cut_short
    guarded = str(frames.manifest.get("reason") or "").startswith(GUARD)
    status = Status.FAIL if guarded else Status.UNKNOWN if why or frames.missing else Status.PASS
    torn = f"; torn tails skipped: {', '.join(frames.torn)}" if frames.torn else ""
    told = "; ".join([f"cut short: {why}" if why else "manifest.json says finished", *frames.missing])
    return Finding(
        "run", None, "came to its end", str(frames.manifest.get("status")), status, evidence=told + torn,
        reason="" if status is Status.PASS else told,
    )  # fmt: skip


def as_json(verdict: Verdict, evidence: Evidence) -> dict[str, Any]:
    """verdict.json; `verdict_json` says what each field is."""
    frames = evidence.frames
    told = {
        "run": verdict.run,
        "status": verdict.status,
        "exit_code": verdict.exit_code,
        "cut_short": frames.cut_short,
        "torn": list(frames.torn),
        "gateway_versions": frames.gateway_versions or None,
        "findings": verdict.findings,
    }
    return VerdictJson.model_validate(told).plain()


def as_junit(verdict: Verdict) -> str:
    """One test case for each finding: fail is a failure, unknown an error, so that no CI takes it for a pass.

    It tells no times: a finding takes none, and a run's length is no test's.
    """
    statuses = [f.status for f in verdict.findings]
    suite = ET.Element(
        "testsuite", name=verdict.run, tests=str(len(statuses)),
        failures=str(statuses.count(Status.FAIL)), errors=str(statuses.count(Status.UNKNOWN)), skipped="0",
    )  # fmt: skip
    for f in verdict.findings:
        name = f"{f.name} ({f.id})" if f.id else f.name
        case = ET.SubElement(suite, "testcase", classname="brownout", name=_sayable(name))
        message, evidence = _sayable(f"wanted {f.target}; measured {f.measured}"), _sayable(f.evidence)
        if f.status is Status.FAIL:
            ET.SubElement(case, "failure", type=str(f.status), message=message).text = evidence
        elif f.status is Status.UNKNOWN:
            ET.SubElement(case, "error", type=str(f.status), message=message).text = evidence
        else:
            ET.SubElement(case, "system-out").text = f"{message}; {evidence}"
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _sayable(text: str) -> str:
    """Less what XML 1.0 cannot hold: an error of the world may quote any byte."""
    return _UNSAYABLE.sub("\ufffd", text)


def as_text(verdict: Verdict) -> str:
    """The table on the terminal; what is no pass tells its evidence below."""
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
    return "\n".join([*lines, f"{verdict.run}: {verdict.status} (exit code {verdict.exit_code})"])


def gateway(verdict: Verdict) -> str:
    """`gateway: litellm 1.108.7`, in every form that a person reads."""
    return f"gateway: {verdict.gateway or 'version unknown'}"


def reason(f: Finding) -> str:
    """What is no pass, in one line: `cloud_only_in_need: fail: 135 answers of the cloud were not needed: …`.

    The finding's own reason; else what was measured and what was wanted; of what is unknown the evidence too, and that alone
    where nothing was measured.
    """
    name = f"{f.id} {f.name}" if f.id else f.name
    missed = f"{f.measured}; wanted: {f.target}"
    if f.status is Status.UNKNOWN:
        missed = f.evidence if f.measured == UNKNOWN else f"{missed}; {f.evidence}"
    return f"{name}: {f.status}: {f.reason or missed}"


def reasons(verdict: Verdict) -> list[tuple[Status, str]]:
    """Of each finding that is no pass its reason, what failed first: the first thing that a report says."""
    order = [Status.FAIL, Status.UNKNOWN]
    missed = [f for f in verdict.findings if f.status in order]
    return [
        (f.status, _within(reason(f), MOST_CHARACTERS))
        for f in sorted(missed, key=lambda f: order.index(f.status))
    ]


def _within(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
