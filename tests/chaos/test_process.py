"""The chaos process as it is started: by the load generator on a leash, or by hand; and what a kill leaves behind."""

import os
import signal
import subprocess
import sys

import pytest
from aiohttp import web

from chaos.cluster import process_gone
from chaos.plan import pauses
from contract import timeline
from tests.chaos.stand import LONG, ROOT, events, until
from tests.chaos.test_guardian import guardian_of


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


def restore() -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "chaos", "restore"]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)


def test_a_killed_controllers_fault_is_found_and_mended_by_restore(stand, chaos):
    process = chaos()
    guardian = guardian_of(process)
    os.kill(guardian, signal.SIGSTOP)  # it would be at it too, and might be the first
    try:
        process.kill()
        process.wait()
        assert stand.replicas() == 0
        done = restore()
        assert done.returncode == 0, done.stdout + done.stderr
        assert "scale_to_zero on ml/vllm-server" in done.stdout
        assert "restored" in done.stdout
        assert stand.ready() == 1
        assert stand.leases() == []
        assert "by" in (process.folder / "restore.jsonl").read_text()
        assert restore().stdout == "nothing is open\n"
    finally:
        os.kill(guardian, signal.SIGCONT)
    until(lambda: process_gone(guardian), "the guardian finds nothing left to do, and has left")
    assert stand.ready() == 1
    assert stand.leases() == []


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


def test_abort_when_mends_and_ends_the_run_with_exit_code_3(stand, chaos):
    """There is no other tier here: while it is gone every answer of the probe fails."""
    process = chaos(text=LONG + "abort_when: {over: 10s, failures: 0.9, at_least: 5}\n")
    assert process.wait(60) == 3
    assert stand.ready() == 1
    mend = next(e for e in events(process.folder) if e["move"] == "mend")
    assert mend["detail"]["because"].startswith("guard: ")
    assert "abort_when allows 0.9" in mend["detail"]["because"]


def test_a_cluster_that_is_not_embedded_is_refused_before_anything_is_touched(stand, tmp_path):
    """No reaper's heart beats here; the stand says that it is embedded by a label, which is taken off."""
    (tmp_path / "long.yaml").write_text(LONG)
    with stand.as_if_real():
        done = subprocess.run(
            [sys.executable, "-m", "chaos", "run", "--topology", str(stand.write_topology()), "--timeline",
             str(tmp_path / "long.yaml"), "--run", str(tmp_path)],
            cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 64
    assert "step 'gaming': no reaper serves the namespace ml" in done.stderr
    assert (stand.replicas(), stand.leases()) == (1, [])


TRIALS = """
hypothesis: it comes back
trials: 2
phase: 2s
baseline: 1s
settle: 500ms
max: 2m
steps:
  - {name: gaming, at: 4s, for: 4s, fault: scale_to_zero, target: vllm}
"""


def test_a_timeline_with_trials_is_walked_so_many_times_each_a_random_while_later(stand, chaos, tmp_path):
    process = chaos("--seed", "7", text=TRIALS, wait_for="")
    assert process.wait(90) == 0, process.stderr.read()
    told = events(process.folder)
    begun = {e["trial"]: e for e in told if (e["move"], e["stage"]) == ("inject", "begin")}
    back = {e["trial"]: e for e in told if (e["move"], e["stage"]) == ("mend", "effective")}
    assert list(begun) == list(back) == [1, 2]
    later_s = pauses(timeline.read(tmp_path / "long.yaml"), 2, seed=7)[1]
    assert later_s > 0
    scheduled_at = begun[2]["at"] - begun[2]["late_ms"] / 1000
    assert scheduled_at - back[1]["at"] >= 0.5 + later_s + 4.0
    assert stand.ready() == 1


def test_a_run_whose_reader_leaves_in_mid_fault_restores_and_verifies_as_any_other(stand, chaos):
    """As `python -m chaos run … 2>&1 | head -3` has it."""
    read, write = os.pipe()
    once = TRIALS.replace("trials: 2\nphase: 2s\n", "").replace("for: 4s", "for: 8s")
    process = chaos(text=once, output=write)
    os.close(write)
    os.close(read)
    assert process.wait(60) == 0
    assert [(e["move"], e["stage"], e["by"]) for e in events(process.folder)][-1] == (
        "mend",
        "effective",
        "timeline",
    )
    assert (stand.ready(), stand.leases()) == (1, [])
    assert not (process.folder / "guardian.jsonl").exists()  # it was not needed


def test_what_is_not_restored_has_its_exit_code_though_nobody_listens(stand, chaos):
    read, write = os.pipe()
    process = chaos("--restore-within", "2s", output=write)
    os.close(write)
    os.close(read)

    async def trouble(request, handler):
        return web.Response(status=500)

    stand.trouble = trouble
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 4
    stand.trouble = None
    until(lambda: not stand.leases(), "the guardian has restored")
    assert stand.ready() == 1


def test_a_run_in_which_nothing_was_injected_has_no_evidence(stand, chaos):
    stand.scale(0)
    process = chaos(text=TRIALS.replace("trials: 2\nphase: 2s\n", ""), wait_for="fail")
    assert process.wait(60) == 5
    assert "unknown: no fault was seen to be effective, so nothing was tested" in process.stderr.read()


def test_a_target_that_someone_else_changed_is_left_and_the_run_has_no_pass(stand, chaos):
    process = chaos()
    stand.scale(2)
    assert process.wait(60) == 5
    assert (
        "unknown: gaming: deployment ml/vllm-server (replicas before the fault: 1) was scaled to 2 by someone else"
        in process.stderr.read()
    )
    assert stand.replicas() == 2
