"""A master and its workers: every request has one record in the master's file, and a worker that is lost is told of."""

import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from contract import samplers
from contract.run import read_arrow, read_lines, read_manifest
from contract.schemas import REQUESTS
from tests.chaos.stand import until
from tests.scenarios.server import Server
from tests.whole.crew import GOOD, Crew, nonces
from tests.whole.stack import latest


@pytest.fixture
def gateway():
    with Server([0.05, GOOD]) as server:
        yield server


@pytest.fixture
def crew(tmp_path, gateway, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = Crew(tmp_path, gateway)
    yield found
    found.end()


def records(run: Path) -> list[dict]:
    return read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist()


def whole(run: Path, gateway: Server) -> None:
    """Every request of a user's that the server saw has exactly one record, and the other way round."""
    found = records(run)
    ids = [r["request_id"] for r in found]
    assert len(ids) == len(set(ids))
    probe = {r["request_id"] for r in read_arrow(run / "probe.arrow", REQUESTS)[0].to_pylist()}
    seen = [n for n in nonces(gateway) if n not in probe]
    assert Counter(seen) == Counter(i for i, r in zip(ids, found, strict=True) if r["sent_at"] is not None)
    played = Counter(r["worker"] for r in found if r["lane"] == "load")
    assert set(played) == {"worker-0", "worker-1"}
    assert sum(played.values()) > 60
    client = samplers.read(run, "client")[0].to_pylist()
    assert {r["worker"] for r in client} == {"worker-0", "worker-1"}
    manifest = read_manifest(run)
    # Who made the requests saw the version; the master, which made only the warm-up's, has it from them.
    through = [
        r
        for r in found
        if r["via"] == "gateway" and r["status"] == 200 and not (r["lane"] == "warmup" and r["worker"])
    ]
    assert manifest["versions"]["gateway"] == "litellm 1.108.7"
    assert manifest["gateway_versions"] == {"1.108.7": len(through)}
    for who in manifest["workers"]:
        assert who["requests"] == who["records"] == played[who["worker"]]
    offsets = read_lines(run / "clocks.jsonl")[0]
    assert {o["worker"] for o in offsets} == {"worker-0", "worker-1"}
    assert {o["uncertainty_s"] for o in offsets} == {0.0}, "they read the same monotonic clock"


@pytest.mark.verify
@pytest.mark.parametrize("forked", [False, True])
def test_all_that_two_workers_ask_is_in_the_masters_file(crew, gateway, forked):
    if forked:
        workers, master = [], crew.master("--processes", "2")
    else:
        workers = [crew.worker(), crew.worker()]
        master = crew.master("--master", "--expect-workers", "2")
    out, _ = master.communicate(timeout=90)
    print(out)
    assert master.returncode == 0, out
    assert [w.communicate(timeout=20)[0] for w in workers] == [""] * len(workers)
    assert [w.returncode for w in workers] == [0] * len(workers)
    run = latest(crew.results)
    assert read_manifest(run)["status"] == "finished"
    assert {w["end"] for w in read_manifest(run)["workers"]} == {"stopped"}
    whole(run, gateway)


@pytest.mark.verify
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_frozen_is_told_of_and_no_pass_rests_on_it(crew, gateway, how):
    workers = [crew.worker(), crew.worker()]
    master = crew.master("--master", "--expect-workers", "2")
    until(lambda: len(gateway.requests) > 60, "the users ask", 60)
    os.kill(workers[0].pid, how)
    out, _ = master.communicate(timeout=90)
    print(out)
    run = latest(crew.results)
    (lost,) = [w for w in read_manifest(run)["workers"] if w["end"] == "lost"]
    assert lost["pid"] == workers[0].pid
    assert f"pid {workers[0].pid}) is lost" in out
    assert master.returncode == 5, out
    assert workers[1].wait(20) == 0


@pytest.mark.verify
def test_an_open_loop_is_shared_among_the_workers(crew, gateway):
    workers = [crew.worker(), crew.worker()]
    master = crew.master(
        "--master", "--expect-workers", "2", "--arrivals", "constant:30/s", "--scenarios", "chat", users=1
    )  # fmt: skip
    out, _ = master.communicate(timeout=90)
    print(out)
    assert master.returncode == 0, out
    assert [w.communicate(timeout=20)[0] for w in workers] == ["", ""]
    run = latest(crew.results)
    whole(run, gateway)
    found = [r for r in records(run) if r["lane"] == "load"]
    played = Counter(r["worker"] for r in found)
    assert played["worker-0"] == pytest.approx(played["worker-1"], rel=0.1)
    lasted_s = max(r["scheduled_at"] for r in found) - min(r["scheduled_at"] for r in found)
    assert len(found) / lasted_s == pytest.approx(30, rel=0.1)


@pytest.mark.verify
def test_a_worker_that_comes_late_plays_and_one_that_leaves_hands_over_all_it_has(
    tmp_path, gateway, monkeypatch
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    crew = Crew(tmp_path, gateway, baseline="25s")
    try:
        first = crew.worker()
        master = crew.master("--master")
        until(lambda: len(gateway.requests) > 60, "the users ask", 60)
        late = crew.worker()
        of_late = re.compile(r"req-[0-9a-f]{6}02-")  # two of them are its knock
        until(lambda: sum(bool(of_late.match(n)) for n in nonces(gateway)) > 5, "the late one asks", 30)
        first.terminate()
        out, _ = master.communicate(timeout=90)
        assert master.returncode == 0, out
        assert first.wait(20) == late.wait(20) == 0
    finally:
        crew.end()
    print(out)
    run = latest(crew.results)
    assert "joined the run" in out
    assert "has left; all its records were received" in out
    whole(run, gateway)
    assert {w["worker"]: w["end"] for w in read_manifest(run)["workers"]} == {
        "worker-0": "left",
        "worker-1": "stopped",
    }


@pytest.mark.verify
def test_ctrl_c_loses_nothing(crew, gateway):
    """It reaches the forked workers as well as their master."""
    master = crew.master("--processes", "2")
    until(lambda: len(gateway.requests) > 100, "the users ask", 60)
    os.killpg(master.pid, signal.SIGINT)
    out, _ = master.communicate(timeout=90)
    print(out)
    run = latest(crew.results)
    assert "is lost" not in out
    assert "ERROR" not in out
    assert read_manifest(run)["reason"] == "signal: stopped before the end of the timeline"
    assert master.returncode == 5
    whole(run, gateway)
