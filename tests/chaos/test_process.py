"""The chaos process as it is started: by the load generator on a leash, or by hand; and what a kill leaves behind."""

import os
import signal
import subprocess
import sys

import pytest

from chaos.cluster import Cluster
from chaos.preflight import cluster_of
from contract.refusal import Refusal
from tests.chaos.stand import ROOT, events, until

LONG = """
hypothesis: it comes back whatever happens to us
baseline: 1s
settle: 1s
max: 5m
steps: [{name: gaming, at: 2s, for: 120s, fault: scale_to_zero, target: vllm}]
"""


@pytest.fixture
def chaos(stand, tmp_path):
    """Starts `python -m chaos run` in mid-fault; ends it if the test did not."""
    started = []

    def start(*more: str, text: str = LONG, wait_for: str = "effective") -> subprocess.Popen:
        (tmp_path / "long.yaml").write_text(text)
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos", "run", "--topology", str(stand.write_topology()), "--timeline",
             str(tmp_path / "long.yaml"), "--run", str(folder), *more],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(process)
        process.folder = folder
        if wait_for:
            until(lambda: [e for e in events(folder) if e["stage"] == wait_for], f"inject {wait_for}")
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_and_a_second_one_mend_and_leave(stand, chaos, number):
    process = chaos()
    process.send_signal(number)
    until(lambda: [e for e in events(process.folder) if e["move"] == "mend"], "the mend has begun")
    process.send_signal(number)
    assert process.wait(30) == 5
    assert stand.ready() == 1
    assert events(process.folder)[-1]["stage"] == "effective"
    assert stand.leases() == []


def test_the_end_of_the_leash_mends_and_leaves(stand, chaos):
    process = chaos("--leash")
    process.stdin.close()
    assert process.wait(30) == 5
    assert stand.ready() == 1


def test_a_killed_controllers_fault_is_found_and_mended_by_restore(stand, chaos, tmp_path):
    process = chaos()
    process.kill()
    process.wait()
    assert stand.replicas() == 0

    def restore() -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "chaos", "restore"]
        return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)

    done = restore()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scale_to_zero on ml/vllm-server" in done.stdout
    assert "mended" in done.stdout
    assert stand.ready() == 1
    assert stand.leases() == []
    assert "by" in (process.folder / "restore.jsonl").read_text()
    assert restore().stdout == "nothing is open\n"


def test_restore_finds_a_fault_by_its_lease_alone(stand, chaos, tmp_path, monkeypatch):
    process = chaos()
    process.kill()
    process.wait()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "restore", "--topology", str(stand.write_topology())],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert stand.ready() == 1
    assert stand.leases() == []


def test_another_cluster_than_the_topologys_is_not_touched(stand, tmp_path):
    path = stand.write_topology()
    path.write_text(path.read_text().replace(stand.cluster.uid, "another"))
    (tmp_path / "long.yaml").write_text(LONG)
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "run", "--topology", str(path), "--timeline", str(tmp_path / "long.yaml"),
         "--run", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 64
    assert "chaos touches that one and no other" in done.stderr
    assert stand.replicas() == 1


def test_a_cluster_that_is_not_embedded_is_refused_and_why(stand, monkeypatch):
    monkeypatch.setattr(Cluster, "identity", lambda self: (stand.cluster.uid, False))
    with pytest.raises(Refusal, match="neither a guardian nor a dead-man"):
        cluster_of(stand.topology())
