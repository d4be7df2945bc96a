"""The wall clock is stepped by an hour in the middle of a run, in each of its processes: the recording does not show it."""

import itertools
import json
import os
import time

import pytest

from contract import samplers
from contract.run import read_arrow, read_lines, read_manifest
from contract.schemas import REQUESTS
from tests.chaos.stand import until
from tests.scenarios.server import Server
from tests.whole.small_run import GOOD, SmallRun
from tests.whole.stack import latest

# Every Python that starts with this folder on its path imports it: chaos, guardian, Locust, its workers.
STEPPED = """
import os, time
real, step_file = time.time, os.environ["WALL_STEP"]
def stepped():
    try:
        with open(step_file) as f:
            return real() + float(f.read())
    except (OSError, ValueError):
        return real()
time.time = stepped
"""


@pytest.mark.verify
@pytest.mark.parametrize("step_s", [-3600, 3600])
@pytest.mark.parametrize("forked", [False, True])
def test_a_wall_clock_that_is_stepped_in_mid_run_changes_nothing(tmp_path, monkeypatch, step_s, forked):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("WALL_STEP", str(tmp_path / "step"))
    (tmp_path / "sitecustomize.py").write_text(STEPPED)
    with Server([0.05, GOOD]) as gateway:
        small_run = SmallRun(tmp_path, gateway)
        began_at = time.time()
        try:
            master = small_run.master(*(("--processes", "2") if forked else ()))
            until(lambda: len(gateway.requests) > 40, "the users send requests", 60)
            (tmp_path / "fresh").write_text(str(step_s))
            os.replace(tmp_path / "fresh", tmp_path / "step")
            out, _ = master.communicate(timeout=90)
        finally:
            small_run.end()
    assert master.returncode == 0, out
    assert "is lost" not in out
    run, ended_at = latest(small_run.results), time.time()
    requests = read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist()
    probe = read_arrow(run / "probe.arrow", REQUESTS)[0].to_pylist()
    client = samplers.read(run, "client")[0].to_pylist()
    health = samplers.read(run, "health")[0].to_pylist()
    events = read_lines(run / "chaos.jsonl")[0]
    instants = [a[k] for a in requests + probe for k in ("scheduled_at", "sent_at") if a[k] is not None]
    instants += [row["at"] for row in client + health + events]
    manifest = read_manifest(run)
    instants += [manifest["started_at"], manifest["closed_at"]]
    assert len(requests) > 100
    assert probe
    assert {(e["move"], e["stage"]) for e in events} >= {("inject", "effective"), ("restore", "effective")}
    assert began_at <= min(instants)
    assert max(instants) <= ended_at
    assert all(0 < a["latency_ms"] < 5000 for a in requests + probe if a["latency_ms"] is not None)
    by_worker: dict[str | None, list[float]] = {}
    for row in client:
        by_worker.setdefault(row["worker"], []).append(row["at"])
    for rows in by_worker.values():
        assert all(0 < later - earlier < 5 for earlier, later in itertools.pairwise(rows))
    assert {w["end"] for w in manifest["workers"]} <= {"stopped"}
    verdict = json.loads((run / "report/verdict.json").read_text())
    assert verdict["status"] == "pass"
