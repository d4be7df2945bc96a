"""A master and its workers: every request has one record in the master's file, and a lost worker is reported."""

import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from contract import samplers
from contract.records import Offset
from contract.run import read_arrow, read_lines, read_manifest
from contract.schemas import REQUESTS
from tests.chaos.stand import until
from tests.scenarios.server import Server
from tests.whole.small_run import GOOD, SmallRun, nonces
from tests.whole.stack import latest


@pytest.fixture
def gateway():
    with Server([0.05, GOOD]) as server:
        yield server


@pytest.fixture
def small_run(tmp_path, gateway, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = SmallRun(tmp_path, gateway)
    yield found
    found.end()


def records(run: Path) -> list[dict]:
    return read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist()


def whole(run: Path, gateway: Server) -> None:
    """Every user request that reached the server has exactly one record, and the other way round."""
    found = records(run)
    ids = [r["request_id"] for r in found]
    assert len(ids) == len(set(ids))
    probe = {r["request_id"] for r in read_arrow(run / "probe.arrow", REQUESTS)[0].to_pylist()}
    seen = [n for n in nonces(gateway) if n not in probe]
    assert Counter(seen) == Counter(i for i, r in zip(ids, found, strict=True) if r["sent_at"] is not None)
    by_worker = Counter(r["worker"] for r in found if r["lane"] == "load")
    assert set(by_worker) == {"worker-0", "worker-1"}
    assert sum(by_worker.values()) > 60
    client = samplers.read(run, "client")[0].to_pylist()
    assert {r["worker"] for r in client} == {"worker-0", "worker-1"}
    manifest = read_manifest(run)
    # The workers saw the version; the master, which sent only the warm-up's requests, has it from them.
    through = [
        r
        for r in found
        if r["via"] == "gateway" and r["status"] == 200 and not (r["lane"] == "warmup" and r["worker"])
    ]
    assert manifest["versions"]["gateway"] == "litellm 1.108.7"
    assert manifest["gateway_versions"] == {"1.108.7": len(through)}
    for worker in manifest["workers"]:
        assert worker["requests"] == worker["records"] == by_worker[worker["worker"]]
    offsets = read_lines(run / "clocks.jsonl", Offset)[0]
    assert {o["worker"] for o in offsets} == {"worker-0", "worker-1"}
    assert {o["uncertainty_s"] for o in offsets} == {0.0}, "they read the same monotonic clock"


@pytest.mark.verify
@pytest.mark.parametrize("forked", [False, True])
def test_every_request_of_two_workers_is_in_the_masters_file(small_run, gateway, forked):
    if forked:
        workers, master = [], small_run.master("--processes", "2")
    else:
        workers = [small_run.worker(), small_run.worker()]
        master = small_run.master("--master", "--expect-workers", "2")
    out, _ = master.communicate(timeout=90)
    print(out)
    assert master.returncode == 0, out
    assert [w.communicate(timeout=20)[0] for w in workers] == [""] * len(workers)
    assert [w.returncode for w in workers] == [0] * len(workers)
    run = latest(small_run.results)
    assert read_manifest(run)["status"] == "finished"
    assert {w["end"] for w in read_manifest(run)["workers"]} == {"stopped"}
    whole(run, gateway)


@pytest.mark.verify
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_frozen_is_reported_and_nothing_passes(small_run, gateway, how):
    workers = [small_run.worker(), small_run.worker()]
    master = small_run.master("--master", "--expect-workers", "2")
    until(lambda: len(gateway.requests) > 60, "the users send requests", 60)
    os.kill(workers[0].pid, how)
    out, _ = master.communicate(timeout=90)
    print(out)
    run = latest(small_run.results)
    (lost,) = [w for w in read_manifest(run)["workers"] if w["end"] == "lost"]
    assert lost["pid"] == workers[0].pid
    assert f"pid {workers[0].pid}) is lost" in out
    assert master.returncode == 5, out
    assert workers[1].wait(20) == 0


@pytest.mark.verify
def test_an_open_loop_is_shared_among_the_workers(small_run, gateway):
    workers = [small_run.worker(), small_run.worker()]
    master = small_run.master(
        "--master", "--expect-workers", "2", "--arrivals", "constant:30/s", "--scenarios", "chat", users=1
    )  # fmt: skip
    out, _ = master.communicate(timeout=90)
    print(out)
    assert master.returncode == 0, out
    assert [w.communicate(timeout=20)[0] for w in workers] == ["", ""]
    run = latest(small_run.results)
    whole(run, gateway)
    found = [r for r in records(run) if r["lane"] == "load"]
    by_worker = Counter(r["worker"] for r in found)
    assert by_worker["worker-0"] == pytest.approx(by_worker["worker-1"], rel=0.1)
    lasted_s = max(r["scheduled_at"] for r in found) - min(r["scheduled_at"] for r in found)
    assert len(found) / lasted_s == pytest.approx(30, rel=0.1)


@pytest.mark.verify
def test_a_worker_that_comes_late_joins_and_one_that_leaves_sends_all_its_records(
    tmp_path, gateway, monkeypatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    small_run = SmallRun(tmp_path, gateway, baseline="25s")
    try:
        first = small_run.worker()
        master = small_run.master("--master")
        until(lambda: len(gateway.requests) > 60, "the users send requests", 60)
        late = small_run.worker()
        of_late = re.compile(r"req-[0-9a-f]{6}02-")  # two of them are sent before it reports ready
        until(
            lambda: sum(bool(of_late.match(n)) for n in nonces(gateway)) > 5,
            "the late one sends requests",
            30,
        )
        first.terminate()
        out, _ = master.communicate(timeout=90)
        assert master.returncode == 0, out
        assert first.wait(20) == late.wait(20) == 0
    finally:
        small_run.end()
    print(out)
    run = latest(small_run.results)
    assert "joined the run" in out
    assert "has left; all its records were received" in out
    whole(run, gateway)
    assert {w["worker"]: w["end"] for w in read_manifest(run)["workers"]} == {
        "worker-0": "left",
        "worker-1": "stopped",
    }


@pytest.mark.verify
def test_ctrl_c_loses_nothing(small_run, gateway):
    """Ctrl-C reaches the forked workers as well as their master."""
    master = small_run.master("--processes", "2")
    until(lambda: len(gateway.requests) > 100, "the users send requests", 60)
    os.killpg(master.pid, signal.SIGINT)
    out, _ = master.communicate(timeout=90)
    print(out)
    run = latest(small_run.results)
    assert "is lost" not in out
    assert "ERROR" not in out
    assert read_manifest(run)["reason"] == "signal: stopped before the end of the timeline"
    assert master.returncode == 5
    whole(run, gateway)
