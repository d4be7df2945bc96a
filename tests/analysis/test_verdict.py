"""The verdict: the order of statuses, missing evidence, and errors in checkers."""

import json
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest

from analysis import frames, judge, report
from analysis.__main__ import main
from analysis.evidence import Evidence
from analysis.judging import verdict
from analysis.judging.expectation import Expectation
from analysis.judging.finding import Finding, Status, judge_at_most, worst
from analysis.metrics.trials import Value
from contract.records import Event
from contract.run import ABORTED
from tests.analysis.reports import pictures
from tests.synthetic import make, rounds, three_tier
from tests.synthetic_world import START, VLLM, Hole

P, F, U = Status.PASS, Status.FAIL, Status.UNKNOWN


@pytest.mark.parametrize(
    ("restored", "run", "expectations", "status", "code"),
    [
        (P, P, [P, P], "pass", 0),
        (P, P, [P, U], "unknown", 5),
        (P, P, [F, U], "fail", 1),
        (P, U, [P], "unknown", 5),  # cut short: an otherwise passing verdict proves nothing
        (P, U, [F], "fail", 1),
        (P, F, [F], "aborted", 3),  # a guard ended it
        (F, F, [F], "not_restored", 4),
        (F, U, [P], "not_restored", 4),
        (U, P, [P], "unknown", 5),  # changed by someone else
    ],
)
def test_the_worst_wins(restored, run, expectations, status, code):
    findings = [Finding(str(i), None, "", "", s, "") for i, s in enumerate(expectations)]
    findings += [Finding("restored", None, "", "", restored, ""), Finding("run", None, "", "", run, "")]
    assert verdict.conclude(findings) == (status, code)


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([(1, False), (4.9, False)], P),
        ([(1, False), (5.1, False)], F),
        ([(1, False), (6, True)], F),  # "> 6 s" is beyond the limit already
        ([(1, False), (3, True)], U),  # "> 3 s" may have kept it
        ([(1, False), (None, False)], U),
        ([(9, False), (None, False)], F),
        ([], U),
    ],
)
def test_every_trial_must_keep_the_limit(values, status):
    assert judge_at_most([Value("s", i, v, c) for i, (v, c) in enumerate(values)], 5.0) is status


def test_of_no_statuses_the_worst_is_unknown():
    assert worst([]) is U


def judged(made):
    run = Evidence(frames.read(made.path))
    return judge.judge(run), run


def status_of(found, name):
    return next(f.status for f in found.findings if f.name == name)


def test_the_three_tiers_as_they_ought_to_go_pass(tmp_path):
    found, _ = judged(three_tier(tmp_path))
    assert {f.name: str(f.status) for f in found.findings} == dict.fromkeys(
        ["failover", "overhead", "cloud_only_in_need", "continuity", "cuts", "recovery", "exercised", "restored", "run"],
        "pass",
    )  # fmt: skip
    assert (found.status, found.exit_code) == ("pass", 0)


def test_a_checker_that_throws_is_unknown_and_says_so(tmp_path):
    def check(params, run):
        raise ZeroDivisionError("of nothing")

    run = Evidence(frames.read(make(tmp_path, duration_s=10).path))
    found = verdict.judge(run, [Expectation("broken", SimpleNamespace(id="X1"), check)])
    assert found.findings[0].status is U
    assert found.findings[0].id == "X1"
    assert "ZeroDivisionError: of nothing" in found.findings[0].evidence
    assert found.exit_code == 5


def test_without_any_traffic_nothing_passes(tmp_path):
    made = three_tier(tmp_path, rate=0, probe_rate=0, pairs=0)
    found, _ = judged(made)
    for f in found.findings:
        assert f.status is (P if f.name in ("restored", "run") else U), f
    assert (found.status, found.exit_code) == ("unknown", 5)


def test_without_traffic_and_health_everything_is_unknown(tmp_path):
    found, _ = judged(three_tier(tmp_path, rate=0, probe_rate=0, pairs=0, health=False))
    assert all(f.status is U for f in found.findings if f.name not in ("restored", "run"))
    assert (found.status, found.exit_code) == ("unknown", 5)


def test_a_fault_that_was_never_begun_passes_nothing_that_needs_it(tmp_path):
    found, _ = judged(three_tier(tmp_path, events=[]))
    for name in ("failover", "cuts", "recovery", "exercised"):
        assert status_of(found, name) is U


def test_without_a_fallback_the_failover_fails(tmp_path):
    expect = {"failover": {"step": "s", "to": "spare", "max_s": 5}, "exercised": {"s": {"spare": 1}}}
    spare = VLLM.__class__("spare", 0.1, 0.02)
    # The spare is gone as well, and for longer: no tier takes over.
    steps = [Hole("s", "vllm", 20, 30), Hole("other", "spare", 10, 60)]
    made = make(tmp_path, steps, engines=(VLLM, spare), expect=expect, duration_s=90)
    found, _ = judged(made)
    assert status_of(found, "failover") is F
    assert status_of(found, "exercised") is U
    assert found.exit_code == 1


def test_a_fault_on_a_tier_that_the_gateway_was_not_using_proves_no_failover(tmp_path):
    # The second trial begins while the gateway still avoids the tier after the first: the next tier goes on answering.
    steps = rounds(Hole("s", "vllm", 20, 20, sticky_s=60), 2, 40)
    made = make(
        tmp_path, steps, expect={"failover": {"step": "s", "to": "ollama", "max_s": 5}}, duration_s=120
    )
    found, _ = judged(made)
    first, second = found.findings[0].trials
    assert first.value is not None
    assert (second.value, second.why) == (None, "the gateway was not seen to use vllm before")
    assert found.findings[0].status is U


def test_what_someone_else_changed_is_left_unknown(tmp_path):
    foreign = Event(START + 160, "r", "restore", "fail", "timeline", "gaming-mode", 1, "scale_to_zero", "vllm",
                    detail={"foreign": True}, error="replicas are 3")  # fmt: skip
    made = three_tier(tmp_path)
    kept = [
        e
        for h in made.steps
        for e in h.events("r")
        if (e.step, e.stage, e.move) != ("gaming-mode", "effective", "restore")
    ]
    found, _ = judged(three_tier(tmp_path / "again", events=[*kept, foreign]))
    assert status_of(found, "restored") is U
    assert found.exit_code == 5


def test_one_tier_alone_has_no_cloud_and_no_lower_tier(tmp_path):
    made = make(tmp_path, engines=(VLLM,), expect={"cloud_only_in_need": {}, "continuity": {"min_good": 0.9}})
    found, run = judged(made)
    assert run.lower.empty
    assert status_of(found, "cloud_only_in_need") is U
    assert status_of(found, "continuity") is P


def test_a_killed_run_that_was_not_restored_is_not_restored(tmp_path):
    made = three_tier(tmp_path, status=None, drop=[("restore", "effective")])
    found, run = judged(made)
    assert (found.status, found.exit_code) == ("not_restored", 4)
    assert "never closed" in run.frames.cut_short


def test_a_killed_run_that_is_well_otherwise_is_unknown(tmp_path):
    found, _ = judged(three_tier(tmp_path, status=None))
    assert (found.status, found.exit_code) == ("unknown", 5)


def test_a_guard_aborts_with_three_and_a_signal_leaves_it_unknown(tmp_path):
    guarded, _ = judged(three_tier(tmp_path / "a", status=ABORTED, reason="guard: 201 cloud answers"))
    stopped, _ = judged(three_tier(tmp_path / "b", status=ABORTED, reason="signal: TERM"))
    assert (guarded.exit_code, stopped.exit_code) == (3, 5)


def test_a_leak_of_the_cloud_fails_and_names_the_request(tmp_path):
    hole = Hole("s", "vllm", 20, 20)
    base = make(tmp_path, [hole], duration_s=60)
    leak = next(
        a
        for a in base.requests
        if a.tier == "vllm" and a.outcome == "ok" and a.via == "gateway" and a.sent_at > START + 10
    )
    leak.tier, leak.request_id, leak.lane = "openai", "req-leak", "load"
    made = make(tmp_path, [hole], duration_s=60, extra=[leak], expect={"cloud_only_in_need": {}}, name="leak")
    found, _ = judged(made)
    assert status_of(found, "cloud_only_in_need") is F
    assert "req-leak" in found.findings[0].evidence


def test_few_pairs_prove_no_overhead(tmp_path):
    found, _ = judged(make(tmp_path, pairs=5, expect={"overhead": {"max_ms": 100}}))
    assert status_of(found, "overhead") is U


@pytest.mark.parametrize(("max_ms", "status"), [(100, P), (5, F), (14.0, U)])
def test_overhead_is_judged_by_its_interval(tmp_path, max_ms, status):
    found, _ = judged(make(tmp_path, pairs=24, overhead_ms=14, expect={"overhead": {"max_ms": max_ms}}))
    assert status_of(found, "overhead") is status


def test_json_and_junit_say_the_same(tmp_path):
    found, run = judged(three_tier(tmp_path, status=None, probe_rate=1))
    written = json.loads(json.dumps(verdict.as_json(found, run)))
    suite = ET.fromstring(verdict.as_junit(found))
    assert written["exit_code"] == found.exit_code == 5
    assert [f["name"] for f in written["findings"]] == [f.name for f in found.findings]
    assert len(suite.findall("testcase")) == len(found.findings)
    assert int(suite.get("errors")) == sum(f["status"] == "unknown" for f in written["findings"])
    assert written["findings"][0]["trials"][0]["step"] == "gaming-mode"


def _thrower(params, run):
    raise KeyError("a column that is missing")


def test_a_checker_that_throws_keeps_its_traceback_in_the_runs_report_and_the_rest_is_there(tmp_path):
    run = Evidence(frames.read(three_tier(tmp_path).path))
    found = verdict.judge(run, [Expectation("broken", SimpleNamespace(id="X1"), _thrower)])
    assert (
        "the checker raised KeyError: 'a column that is missing'; its traceback is in report/errors.txt"
        in found.findings[0].evidence
    )
    assert found.exit_code == 5
    with pictures("timeline"):
        folder = report.write(run, found)
    kept = (folder / "errors.txt").read_text()
    assert "expectation broken\nTraceback (most recent call last):" in kept
    assert "in _thrower" in kept
    assert "KeyError: 'a column that is missing'" in kept
    assert "[errors.txt](errors.txt)" in (folder / "summary.md").read_text()
    assert '<a href="errors.txt">errors.txt</a>' in (folder / "report.html").read_text()
    assert "the checker raised KeyError" in json.dumps(json.loads((folder / "verdict.json").read_text()))
    assert (folder / "timeline.png").exists()


@pytest.mark.parametrize(
    ("where", "name", "part"),
    [
        ("analysis.reporting.summary.quality", "summary.md", "summary.md: documents and quality"),
        pytest.param(
            "analysis.reporting.summary.load", "summary.md", "summary.md: load", marks=pytest.mark.verify
        ),
        ("analysis.html.checks.tables", "report.html", "report.html: self-checks"),
        pytest.param("analysis.html.drawn.choose", "report.html", "report.html", marks=pytest.mark.verify),
        pytest.param(
            "analysis.html.headline.headline", "report.html", "report.html", marks=pytest.mark.verify
        ),
        ("analysis.figures.served_by.data", "served_by.png", "figure served_by"),
        ("analysis.reporting.tables.phases", None, "phases.csv"),
    ],
)
def test_one_part_of_a_report_that_throws_costs_no_other_and_is_not_silent(
    tmp_path, monkeypatch, capsys, where, name, part
):
    made = make(tmp_path, duration_s=20)
    monkeypatch.setattr(report, "TABLES", dict(report.TABLES))

    def throw(*_: object) -> None:
        raise ZeroDivisionError(f"in {where}")

    monkeypatch.setattr(where, throw)
    if where.startswith("analysis.reporting.tables"):
        report.TABLES["phases"] = throw
    with pictures("served_by", "timeline"):
        code = main(["report", str(made.path)])
    output = capsys.readouterr()
    folder = made.path / "report"
    assert code == json.loads((folder / "verdict.json").read_text())["exit_code"]
    assert f"threw: {part} (ZeroDivisionError: in {where})" in output.err
    assert f"ZeroDivisionError: in {where}" in (folder / "errors.txt").read_text()
    for other in (
        "verdict.json",
        "junit.xml",
        "summary.md",
        "report.html",
        "timeline.png",
        "summary.csv",
        name or "failover.csv",
    ):
        assert (folder / other).stat().st_size, other
    assert "errors.txt" in (folder / "report.html").read_text()


def test_a_report_that_is_made_again_without_a_mistake_keeps_no_traceback(tmp_path):
    made = make(tmp_path, duration_s=10)
    run = Evidence(frames.read(made.path))
    broken = verdict.judge(run, [Expectation("broken", SimpleNamespace(id=None), _thrower)])
    again = Evidence(frames.read(made.path))
    with pictures():
        folder = report.write(run, broken)
        assert (folder / "errors.txt").exists()
        report.write(again, judge.judge(again))
    assert not (folder / "errors.txt").exists()
    assert "errors.txt" not in (folder / "report.html").read_text()
