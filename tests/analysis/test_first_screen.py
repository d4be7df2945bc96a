"""The first screen of a report: the result, the reasons, and the version of the gateway."""

from dataclasses import replace

import pytest

from analysis import frames, html, judge
from analysis.__main__ import main
from analysis.evidence import Evidence
from analysis.figures import timeline
from analysis.html import headline
from analysis.judging import verdict
from analysis.judging.finding import Finding, Status, unknown
from analysis.reporting import summary, tables
from contract.records import Lane, Outcome
from tests.analysis.reports import pictures
from tests.analysis.test_html import Page
from tests.synthetic import make
from tests.synthetic_world import Hole

STEPS = (Hole("gaming-mode", "vllm", at=12, length=40, restore_s=2, sticky_s=2),)
COOLS = {
    "steps": STEPS,
    "duration_s": 64,
    "pairs": 0,
    "shunned": [("ollama", 17, 46)],
    "gateway": {"1.108.7": 900},
}


@pytest.fixture(scope="module")
def cools(tmp_path_factory):
    """As LiteLLM 1.108.7: it cools a fallback that serves, and the cloud answers without need."""
    made = make(tmp_path_factory.mktemp("cools"), expect={"cloud_only_in_need": {"id": "NFR68"}}, **COOLS)
    run = Evidence(frames.read(made.path))
    return run, judge.judge(run)


def page_of(run, found):
    csv = {"summary": tables.summary(run), "failover": tables.failovers(run), "phases": tables.phases(run)}
    return Page(html.page(run, found, csv))


def leaks(found):
    n = next(f.value for f in found.findings if f.name == "cloud_only_in_need")
    return f"{n:g} answers of the cloud were not needed: tier ollama was verified serving all along"


def test_the_reason_of_a_failed_run_stands_below_its_status_and_above_every_number(cools):
    run, found = cools
    text = page_of(run, found).text
    reason = f"NFR68 cloud_only_in_need: fail: {leaks(found)}"
    assert (
        text.index("At least one expectation was not met") < text.index(reason) < text.index("What users saw")
    )
    assert text.index("gateway: litellm 1.108.7") < text.index(reason)


def test_the_first_lines_of_the_summary_are_the_reason_and_the_version(cools):
    run, found = cools
    assert summary.markdown(run, found).splitlines()[:5] == [
        f"# {run.frames.name}: fail", "", f"- **NFR68 cloud_only_in_need: fail: {leaks(found)}**", "- gateway: litellm 1.108.7", "",
    ]  # fmt: skip


def test_the_terminal_and_verdict_json_name_the_version(cools):
    run, found = cools
    assert verdict.as_text(found).splitlines()[-2:] == [
        "gateway: litellm 1.108.7",
        f"{run.frames.name}: fail (exit code 1)",
    ]
    assert verdict.as_json(found, run)["gateway_versions"] == {"1.108.7": 900}


VERSIONS = [
    # answers by version, how a reader has them, in verdict.json, whether he is warned
    ({}, "gateway: version unknown", None, False),
    pytest.param({"1.106.2": 7}, "gateway: litellm 1.106.2", {"1.106.2": 7}, False, marks=pytest.mark.verify),
    ({"1.106.2": 7, "1.108.7": 1}, "gateway: litellm 1.106.2 (7 answers), 1.108.7 (1 answer)", {"1.106.2": 7, "1.108.7": 1}, True),
]  # fmt: skip


@pytest.mark.parametrize(("gateway", "words", "written", "warned"), VERSIONS)
def test_each_version_that_answered_is_shown_and_several_are_warned_of(
    tmp_path, gateway, words, written, warned
):
    made = make(tmp_path, duration_s=20, pairs=0, expect={}, gateway=gateway)
    run = Evidence(frames.read(made.path))
    found = judge.judge(run)
    assert words in verdict.as_text(found).splitlines()
    assert f"- {words}" in summary.markdown(run, found).splitlines()
    assert words in page_of(run, found).text
    assert verdict.as_json(found, run)["gateway_versions"] == written
    for text in (summary.markdown(run, found), page_of(run, found).text):
        assert ("The gateway answered as several versions" in text) is warned


REASONS = [
    (Finding("cuts", "N1", "at most 5", "9 a trial", Status.FAIL, "in which"), "N1 cuts: fail: 9 a trial; expected: at most 5"),
    (Finding("cuts", None, "t", "m", Status.FAIL, "e", reason="nine were cut"), "cuts: fail: nine were cut"),
    (unknown("overhead", None, "t", "no pair counts"), "overhead: unknown: no pair counts"),
    (
        Finding("overhead", "N2", "at most 100 ms more", "+69 ms [58, 127]", Status.UNKNOWN, "12 pairs count"),
        "N2 overhead: unknown: +69 ms [58, 127]; expected: at most 100 ms more; 12 pairs count",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("finding", "words"), REASONS)
def test_a_reason_is_a_line_that_stands_by_itself(finding, words):
    assert verdict.reason(finding) == words


def test_what_failed_comes_before_what_is_unknown_and_no_reason_fills_the_screen():
    long = Finding("restored", None, "t", "m", Status.FAIL, "e", reason="not restored, " * 100)
    found = verdict.Verdict("r", "fail", 1, (unknown("overhead", None, "t", "no pair"), long))
    (first, text), (second, _) = verdict.reasons(found)
    assert (first, second) == (Status.FAIL, Status.UNKNOWN)
    assert len(text) <= verdict.MOST_CHARACTERS
    assert text.endswith("…")


def test_a_fault_that_was_not_restored_is_named_in_the_first_line(tmp_path, capsys):
    made = make(tmp_path, steps=STEPS, duration_s=64, pairs=0, expect={}, drop=[("restore", "effective")])
    with pictures():
        assert main(["report", str(made.path), "--quiet"]) == 4
    line = (made.path / "report" / "summary.md").read_text().splitlines()[2]
    assert line == "- **restored: fail: gaming-mode #1 (scale_to_zero on vllm): not restored**"


def test_what_users_saw_counts_no_request_of_the_probe(tmp_path):
    made = make(tmp_path, duration_s=20, pairs=0, expect={})
    for record in made.requests:
        if record.lane == Lane.PROBE_KEPT and record.outcome == Outcome.OK:
            broken = replace(
                record, request_id="broken", outcome=Outcome.BROKEN, witness=None, ttft_ms=None, gaps_ms=[]
            )
    made = make(tmp_path / "second", duration_s=20, pairs=0, expect={}, extra=[broken])
    run = Evidence(frames.read(made.path))
    assert timeline.title(run).endswith("1 request failed")
    assert headline.headline(run, judge.judge(run)).saw.endswith("0 requests failed.")
