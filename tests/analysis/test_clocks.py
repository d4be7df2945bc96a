"""Workers' clocks that are wrong by a known amount: instants are converted to the master's clock."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from analysis import frames, judge
from analysis.checkers.failover import Params, check
from analysis.evidence import Evidence
from analysis.metrics import clocks, outages
from contract.records import Lane, Offset, RequestRecord, Worker, WorkerEnd
from contract.run import JsonLines, read_manifest, write_whole
from tests.synthetic import make
from tests.synthetic_world import START, Hole


def _rows(worker: str | None, true_at: np.ndarray, ahead_s: np.ndarray | float) -> pd.DataFrame:
    return pd.DataFrame({"worker": worker, "sent_at": true_at + ahead_s, "n": range(len(true_at))})


def _offsets(worker: str, *points: tuple[float, float, float]) -> list[dict]:
    return [dataclasses.asdict(Offset(at, worker, offset, give)) for at, offset, give in points]


def test_a_known_offset_and_a_known_drift_are_taken_out():
    true_at = np.arange(1000.0, 1100.0, 0.5)
    drifting = -2.0 + (true_at - 1000) * 50e-6
    rows = pd.concat(
        [_rows("a", true_at, 3.7), _rows("b", true_at, drifting), _rows(None, true_at, 0)], ignore_index=True
    )
    known = _offsets("a", (1000, 3.7, 0.001)) + _offsets(
        "b", (1000, -2.0, 0.0), (1100, -2.0 + 100 * 50e-6, 0.004)
    )
    found = clocks.one_clock(rows, ["sent_at"], clocks.table(known))
    for worker, most in (("a", 1e-6), ("b", 1e-6)):
        mine = found[found["worker"] == worker]
        assert np.abs(mine["sent_at"].to_numpy() - true_at).max() < most
    assert (found.loc[found["worker"].isna(), "sent_at"].to_numpy() == true_at).all()
    give = found.groupby(found["worker"].fillna(""))["clock_uncertainty_s"].max()
    assert give.to_dict() == {"": 0.0, "a": 0.001, "b": pytest.approx(0.004, abs=1e-4)}


def test_an_unmeasured_clock_is_not_corrected_and_reported():
    rows = _rows("a", np.array([1.0, 2.0]), 5.0)
    found = clocks.one_clock(rows, ["sent_at"], clocks.table([]))
    assert found["sent_at"].tolist() == [6.0, 7.0]
    assert found["clock_uncertainty_s"].isna().all()


def _requests(ahead_s: float, worker: str) -> list[RequestRecord]:
    """Requests of one worker, whose clock is ahead."""
    return [
        RequestRecord(f"req-{worker}-{n}", "chat", Lane.LOAD, "gateway", True, START + n + ahead_s, sent_at=START + n + ahead_s,
            outcome="ok", status=200, ttft_ms=50.0, latency_ms=100.0, tier="vllm", worker=worker)
        for n in range(20)
    ]  # fmt: skip


def _run(tmp_path, offsets: list[Offset], ahead_s: float, *workers: Worker) -> frames.Frames:
    made = make(tmp_path, [Hole("s", "vllm", 10, 10)], duration_s=40, extra=_requests(ahead_s, "worker-0"))
    lines = JsonLines(made.path / "clocks.jsonl")
    for offset in offsets:
        lines.append(offset)
    lines.close()
    manifest = read_manifest(made.path) | {"workers": [dataclasses.asdict(w) for w in workers]}
    write_whole(made.path / "manifest.json", json.dumps(manifest))
    return frames.read(made.path)


def test_a_run_is_read_on_the_masters_clock(tmp_path):
    run = _run(tmp_path, [Offset(START, "worker-0", 3600.0, 0.002)], 3600.0)
    mine = run.requests[run.requests["worker"] == "worker-0"]
    assert mine["sent_at"].tolist() == pytest.approx([START + n for n in range(20)])
    assert mine["first_at"].tolist() == pytest.approx([START + n + 0.05 for n in range(20)])
    assert run.clock_uncertainty_s == 0.002
    assert run.ended_at < START + 60
    assert run.requests["sent_at"].dropna().is_monotonic_increasing


def test_a_run_of_one_machine_has_no_uncertainty(tmp_path):
    assert frames.read(make(tmp_path, duration_s=5).path).clock_uncertainty_s == 0.0


def test_no_verdict_passes_on_a_clock_that_was_not_measured(tmp_path):
    run = _run(tmp_path, [], 0.0)
    assert run.clock_uncertainty_s is None
    finding = judge.judge(Evidence(run)).findings[-1]
    assert (finding.name, finding.status) == ("run", "unknown")
    assert "the clock of worker-0 was not measured" in finding.evidence


@pytest.mark.parametrize(
    ("end", "requests", "records", "words"),
    [
        (WorkerEnd.STOPPED, 20, 20, None),
        (WorkerEnd.LEFT, 20, 20, None),
        (
            WorkerEnd.LOST,
            24,
            20,
            "worker-0 (far) was lost: last message at +31s, last records at +29.5s",
        ),
        (WorkerEnd.STOPPED, 24, 20, "worker-0 (far) counted 24 requests, but only 20 have records"),
    ],
)
def test_no_verdict_passes_on_records_that_a_lost_worker_did_not_send(
    tmp_path, end, requests, records, words
):
    who = Worker("worker-0", "far", 7, START, end, START + 31, START + 29.5, requests, records)
    run = _run(tmp_path, [Offset(START, "worker-0", 0.0, 0.0)], 0.0, who)
    finding = judge.judge(Evidence(run)).findings[-1]
    assert finding.status == ("pass" if words is None else "unknown")
    assert words is None or words in finding.evidence


def _failover(tmp_path, max_s: float, give_s: float):
    """Lost and answered 3.2 s later, by the requests of a worker with this clock uncertainty."""
    made = make(tmp_path, [Hole("s", "vllm", 20, 30, hole_s=3.0)], duration_s=80, rate=20)
    lines = JsonLines(made.path / "clocks.jsonl")
    lines.append(Offset(START, "w1", 0.0, give_s))
    lines.close()
    run = Evidence(frames.read(made.path))
    return run, check(Params(step="s", to="ollama", max_s=max_s), run)


@pytest.mark.parametrize(("max_s", "status"), [(2.0, "fail"), (3.3, "unknown"), (5.0, "pass")])
def test_a_failover_within_clock_uncertainty_of_its_limit_is_unknown(tmp_path, max_s, status):
    _, finding = _failover(tmp_path, max_s, 0.5)
    assert finding.status == status
    assert (status == "unknown") == ("± 0.5 s by the workers' clocks" in finding.evidence)


def test_a_gap_holds_the_truth_whatever_the_clocks_were(tmp_path):
    def gap(run):
        (trial,) = run.trials
        return outages.failover_gap(
            run.around(trial), trial, run.lost_at(trial), Lane.PROBE_NEW, run.frames.ranks
        )

    sure = gap(_failover(tmp_path / "sure", 5.0, 0.0)[0])
    unsure = gap(_failover(tmp_path / "unsure", 5.0, 0.5)[0])
    assert unsure.lower_s == pytest.approx(sure.lower_s - 0.5)
    assert unsure.upper_s == pytest.approx(sure.upper_s + 0.5)
