"""Reading a run folder, whole and torn."""

import json
import shutil

import pytest

from analysis import frames, judge, report
from analysis.evidence import Evidence
from contract import samplers
from contract.records import Lane, RequestRecord
from contract.refusal import Refusal
from tests.analysis.reports import pictures
from tests.synthetic import make, three_tier
from tests.synthetic_world import START, Hole

COLUMNS = {
    "client": [*samplers.find("client").schema.names, "clock_uncertainty_s"],
    "gauges": ["at", "tier", "kv_cache", "running", "waiting"],
    "health": ["at", "tier", "up", "status", "latency_ms"],
}
SHORT = [Hole("s", "vllm", 10, 10)]


def test_a_torn_tail_is_skipped_and_reported(tmp_path):
    made = make(tmp_path, SHORT, duration_s=60, rate=30)
    whole = len(frames.read(made.path).requests)
    for file in ("requests.arrow", "probe.arrow"):
        data = (made.path / file).read_bytes()
        (made.path / file).write_bytes(data[: len(data) * 2 // 3])
    with open(made.path / "chaos.jsonl", "a") as f:
        f.write('{"at": 17950000')
    run = frames.read(made.path)
    assert 0 < len(run.requests) < whole
    assert run.torn == ("requests.arrow", "probe.arrow", "chaos.jsonl")
    assert "requests.arrow" in judge.judge(Evidence(run)).findings[-1].evidence


def test_a_file_torn_anywhere_can_be_read(tmp_path):
    made = make(tmp_path, SHORT, duration_s=12, rate=1, probe_rate=1, pairs=0)
    data = (made.path / "probe.arrow").read_bytes()
    for keep in range(0, len(data), 331):
        (made.path / "probe.arrow").write_bytes(data[:keep])
        frames.read(made.path)


def test_missing_files_are_empty_tables(tmp_path):
    made = make(tmp_path, SHORT, duration_s=30)
    for file in ("requests.arrow", "probe.arrow", "health.arrow", "client.arrow", "chaos.jsonl"):
        (made.path / file).unlink()
    run = frames.read(made.path)
    assert run.requests.empty
    assert {name: list(table) for name, table in run.samples.items() if table.empty} == COLUMNS
    assert run.trials == []
    assert run.ended_at == run.started_at
    found = judge.judge(Evidence(run))
    with pictures():
        report.write(Evidence(run), found)
    assert found.exit_code == 5


def test_covered_slots_and_warmup_stand_apart(tmp_path):
    slot = RequestRecord("slot", "probe", Lane.PROBE_NEW, "gateway", True, START, covered_by="req-1")
    warm = RequestRecord("warm", "chat", Lane.WARMUP, "gateway", True, START)
    run = frames.read(make(tmp_path, duration_s=5, extra=[slot, warm]).path)
    assert run.covered["request_id"].tolist() == ["slot"]
    assert run.warmup["request_id"].tolist() == ["warm"]
    assert not run.requests["request_id"].isin(["slot", "warm"]).any()


@pytest.mark.parametrize("number", [4, 6, None, "5"])
def test_a_run_of_another_format_is_refused_with_the_way_out(tmp_path, number):
    made = make(tmp_path, SHORT, duration_s=30)
    file = made.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": number}))
    words = f"has format {number}; this version reads format 5. Analyse it with the version that recorded it, or record a new run"
    with pytest.raises(Refusal, match=words):
        frames.read(made.path)


def test_unknown_health_is_not_down(tmp_path):
    run = frames.read(make(tmp_path, SHORT, duration_s=30).path)
    assert run.samples["health"]["up"].dtype == "boolean"


def test_the_restore_of_restore_is_read_beside_that_of_chaos(tmp_path):
    made = three_tier(tmp_path, drop=[("restore", "effective")])
    lines = (three_tier(tmp_path).path / "chaos.jsonl").read_text().splitlines()
    late = [
        line.replace('"timeline"', '"restore"')
        for line in lines
        if '"restore"' in line and '"effective"' in line
    ]
    (made.path / "restore.jsonl").write_text("\n".join(late) + "\n")
    found = judge.judge(Evidence(frames.read(made.path)))
    assert found.exit_code == 0
    assert "restored by restore" in next(f.evidence for f in found.findings if f.name == "restored")


def test_a_path_without_a_run_is_refused_with_the_right_form(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal, match="no run found"):
        frames.find_run(None)
    made = make(tmp_path / "results", duration_s=5)
    assert frames.find_run(None) == made.path
    assert frames.find_run(made.path.name) == made.path
    with pytest.raises(Refusal, match="did you mean"):
        frames.find_run(made.path.name + "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refusal, match=r"has no manifest\.json"):
        frames.read(tmp_path / "empty")
    bare = shutil.copytree(made.path, tmp_path / "bare")
    (bare / "topology.yaml").unlink()
    with pytest.raises(Refusal, match="it lists the tiers"):
        frames.read(bare)


def test_reading_reports_the_share_of_each_file(tmp_path):
    reports = []
    frames.read(make(tmp_path, duration_s=20).path, lambda what, done: reports.append((what, done)))
    assert reports == [
        ("reading requests.arrow", pytest.approx(1, abs=0.01)),
        ("reading probe.arrow", pytest.approx(1, abs=0.01)),
    ]
