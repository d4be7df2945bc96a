"""The output of a report: its files, numbers and figures; golden numbers, not pixels."""

import json
import random
import shutil

import pandas as pd
import pytest

from analysis import figures, frames
from analysis.__main__ import main
from analysis.evidence import Evidence
from analysis.reporting import tables
from contract.records import Lane, Outcome
from tests.analysis.reports import pictures
from tests.synthetic import make
from tests.synthetic_world import VLLM, Hole, World, answer, cut

FILES = {
    "verdict.json", "junit.xml", "summary.csv", "failover.csv", "phases.csv", "reconciliation.csv", "summary.md", "report.html",
    *(f"{name}.{kind}" for name in figures.catalogue() for kind in ("png", "csv")),
}  # fmt: skip


def test_a_report_holds_its_files_and_can_be_made_again(reported, tmp_path, capsys):
    assert {p.name for p in (reported.path / "report").iterdir()} == FILES
    again = shutil.copytree(reported.path, tmp_path / reported.path.name)
    with pictures("timeline"):
        assert main(["report", str(again)]) == 0
    for name in ("verdict.json", "junit.xml", "summary.csv", "timeline.csv", "timeline.png"):
        assert (again / "report" / name).read_bytes() == (reported.path / "report" / name).read_bytes(), name
    assert "three_tier: pass (exit code 0)" in capsys.readouterr().out


def test_the_failover_table_finds_what_was_put_in(reported):
    table = pd.read_csv(reported.path / "report" / "failover.csv").set_index("step")
    row = table.loc["gaming-mode"]
    assert row["first_answer_by"] == "ollama"
    assert row["effective_s"] == pytest.approx(3.0)
    assert row["restore_s"] == pytest.approx(4.0)
    assert row["recovery_s"] == pytest.approx(12.1, abs=0.2)
    assert table.loc["cpu-tier-too", "first_answer_by"] == "openai"
    assert table["cuts"].tolist() == [1, 4]


def test_the_phases_add_up_to_the_users_requests_and_their_outcomes(reported):
    table = pd.read_csv(reported.path / "report" / "phases.csv")
    first = table[table["step"].isna() | (table["step"] == "gaming-mode")]
    assert first["phase"].tolist() == ["baseline", "transition", "in effect", "restoring", "settling"]
    users = [a for a in reported.requests if (a.lane, a.via) == ("load", "gateway")]
    assert table["requests"].sum() == first["requests"].sum() == len(users)
    assert first["length_s"].tolist() == pytest.approx([39.95, 3, 107, 4, 51], abs=1)
    assert first["cut"].tolist() == [0, 1, 4, 0, 0]
    assert first["goodput"].iloc[0] == 1.0
    assert first["p50_ttft_ms"].tolist() == pytest.approx([82, 415, 279, 264, 85], abs=10)
    both = first[["p99_latency_ms", "p99_latency_from_schedule_ms"]]
    assert both.iloc[:, 0].tolist() == pytest.approx(both.iloc[:, 1].tolist(), abs=0.1)


def test_a_run_without_faults_is_all_baseline(tmp_path):
    table = tables.phases(Evidence(frames.read(make(tmp_path, duration_s=20).path)))
    assert table["phase"].tolist() == ["baseline"]
    assert table["good"].iloc[0] > 40


def test_latency_from_scheduled_includes_the_wait_into_a_phase(tmp_path):
    late = answer(World((VLLM,), (), random.Random(1)).new(25.0, Lane.LOAD), "vllm", 0.1)
    late.scheduled_at -= 6.0  # at 19: before the fault; it was sent in its window
    quiet = {"rate": 0, "probe_rate": 0, "pairs": 0, "duration_s": 60}
    run = Evidence(frames.read(make(tmp_path, [Hole("s", "vllm", 20, 20)], extra=[late], **quiet).path))
    row = tables.phases(run).set_index("phase").loc["in effect"]
    assert (row["requests"], row["sent"]) == (1, 1)
    assert row["p50_latency_from_schedule_ms"] - row["p50_latency_ms"] == pytest.approx(6000, abs=1)


def test_cuts_and_stalls_stand_apart_in_the_failover_table(tmp_path):
    w = World((VLLM,), (), random.Random(1))
    ends = [cut(answer(w.new(21 + i, Lane.LOAD), "vllm", 0.1, [0.1] * 9), 0.5) for i in range(3)]
    for i, record in enumerate(ends):
        record.request_id = f"end-{i}"
    ends[0].outcome = Outcome.STALLED
    quiet = {"rate": 0, "probe_rate": 5, "pairs": 0, "duration_s": 60}
    run = Evidence(
        frames.read(make(tmp_path, [Hole("s", "vllm", 20, 20, hole_s=3)], extra=ends, **quiet).path)
    )
    row = tables.failovers(run).iloc[0]
    assert (row["cuts"], row["stalls"]) == (2, 1)
    assert row["unavailable_s"] == pytest.approx(3.0, abs=0.25)
    assert (row["worst_1_s"], row["worst_60_s"]) == (1.0, row["unavailable_s"])
    assert (row["brown_answers"], row["unprobed_s"]) == (0, 0)
    assert row["detection_s"] == pytest.approx(3.15, abs=0.3)


def test_the_summary_adds_up_to_the_requests(reported):
    table = pd.read_csv(reported.path / "report" / "summary.csv")
    assert table["n"].sum() == len(reported.requests)
    through = table[(table["tier"] == "vllm") & (table["via"] == "gateway")].iloc[0]
    assert through["p50_ttft_ms"] == pytest.approx(82, abs=3)
    assert through["witness_end"] == through["ok"]


def test_the_tables_for_documents_hold_both_tables_and_the_witnesses(reported):
    text = (reported.path / "report" / "summary.md").read_text()
    assert "| ollama | ollama (synthetic) | model-of-ollama |" in text
    assert "| NFR65 failover |" in text
    assert "verified by witness: end" in text
    assert "Cut answers: 0 of" in text


def test_a_report_of_a_killed_run_says_that_it_was_cut_short(tmp_path):
    made = make(
        tmp_path, [Hole("s", "vllm", 10, 20)], duration_s=30, status=None, drop=[("restore", "effective")]
    )
    with pictures():
        assert main(["report", str(made.path), "--quiet"]) == 4
    text = (made.path / "report" / "summary.md").read_text()
    assert "**The run was cut short: the run was never closed" in text
    assert "**not restored**" in text
    assert json.loads((made.path / "report" / "verdict.json").read_text())["cut_short"]


def test_a_wrong_expectation_in_a_run_is_bad_input(tmp_path, capsys):
    made = make(tmp_path, [Hole("s", "vllm", 10, 20)], duration_s=30, expect={"failovr": {}})
    assert main(["report", str(made.path)]) == 64
    assert "did you mean 'failover'?" in capsys.readouterr().err
