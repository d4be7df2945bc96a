"""Open loops on a whole stack: the warm-up, the files of a ramp, and its stop."""

import itertools
import json
import signal
from pathlib import Path

import pytest

from contract.records import Lane
from contract.run import read_arrow, read_manifest
from contract.schemas import REQUESTS
from tests.whole.stack import SHORT, latest, locust, write_inputs

RAMP = ("-f", "locustfile.py,scenarios/shapes/ramp.py", "--ramp-hold", "4s", "--ramp-factor", "2")


def _started(tmp_path: Path, *more: str):
    (tmp_path / "short.yaml").write_text(SHORT)
    return locust(write_inputs(tmp_path), tmp_path / "short.yaml", tmp_path / "results", *more, users=1)


def _requests(run: Path) -> list[dict]:
    return read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist()


def _warmed_up_first(run: Path) -> None:
    """Every way through the stack was warmed up, streamed and plain, before the clock started."""
    warm = [a for a in _requests(run) if a["lane"] == Lane.WARMUP]
    warmed = {(a["via"], a["tier"], a["stream"]) for a in warm}
    ways = [("gateway", "vllm"), ("gateway", "ollama"), ("vllm", "vllm"), ("ollama", "ollama")]
    assert warmed == {(*way, stream) for way in ways for stream in (True, False)}
    started_at = read_manifest(run)["started_at"]
    assert max(a["scheduled_at"] for a in warm) < started_at
    assert min(a["scheduled_at"] for a in _requests(run) if a["lane"] != Lane.WARMUP) >= started_at


@pytest.mark.verify
def test_a_ramp_warms_up_makes_no_fault_and_leaves_a_run_that_can_be_reported_on(tmp_path):
    process = _started(tmp_path, *RAMP, "--ramp-from", "10", "--ramp-to", "20", "--via", "vllm")
    out, _ = process.communicate(timeout=170)
    run = latest(tmp_path / "results")
    found = json.loads((run / "ramp.json").read_text())
    (ramp,) = found["ramps"]
    assert process.returncode == (5 if ramp["answer"]["bound"] == "unknown_beyond" else 0), out
    assert "highest rate within the objective" in out
    _warmed_up_first(run)
    requests = [a for a in _requests(run) if a["lane"] != Lane.WARMUP]
    assert {(a["lane"], a["via"], a["scenario"]) for a in requests} == {("load", "vllm", "chat")}
    assert len(requests) == sum(step["scheduled"] - step["dropped"] for step in ramp["steps"])
    assert found["objective_ttft_ms"] == 2000
    assert read_manifest(run)["status"] == "finished"
    assert not (run / "timeline.yaml").exists()
    assert not (run / "chaos.jsonl").exists()
    assert (run / "report/verdict.json").exists()


@pytest.mark.verify
def test_a_ramp_that_is_stopped_reports_that_it_has_no_answer(tmp_path):
    process = _started(tmp_path, *RAMP, "--ramp-from", "1", "--via", "vllm")
    assert process.stdout is not None
    for line in process.stdout:
        if "requests/s" in line:
            break
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=170)
    run = latest(tmp_path / "results")
    assert process.returncode == 5, out
    assert "there is no answer" in out
    assert json.loads((run / "ramp.json").read_text())["ramps"][0]["answer"] is None
    assert read_manifest(run)["status"] == "aborted"


@pytest.mark.verify
def test_an_open_loop_of_direct_requests_alone_is_warmed_up_too(tmp_path):
    process = _started(tmp_path, "--scenarios", "direct", "--arrivals", "constant:2/s")
    out, _ = process.communicate(timeout=170)
    run = latest(tmp_path / "results")
    assert read_manifest(run)["status"] == "finished", out
    _warmed_up_first(run)
    requests = sorted(
        (a for a in _requests(run) if a["lane"] != Lane.WARMUP), key=lambda a: a["scheduled_at"]
    )
    assert {a["scenario"] for a in requests} == {"direct"}
    gaps = [b["scheduled_at"] - a["scheduled_at"] for a, b in itertools.pairwise(requests)]
    assert gaps == pytest.approx([0.5] * len(gaps), abs=1e-3)
