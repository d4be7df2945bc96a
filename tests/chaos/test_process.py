"""The chaos process, started by the load generator on a leash or by hand, and what a kill leaves open."""

import os
import signal
import subprocess
import sys
import time
from threading import Thread
from types import SimpleNamespace

import pytest
from aiohttp import web

from chaos import __main__, faults
from chaos.kube.cluster import process_gone
from chaos.plan import pauses
from chaos.stop import SIGNALS, Stop
from chaos.undo import lease
from chaos.undo.journal import Journal
from contract import timeline
from tests.chaos.conftest import run_arguments
from tests.chaos.plain import LONG as PLAIN
from tests.chaos.plain import put
from tests.chaos.stand import LONG, ROOT, events, until
from tests.chaos.test_guardian import guardian_of


def test_several_signals_restore_and_exit(commands, chaos):
    commands.restore_by(f"until [ -e {commands.folder}/may ]; do sleep 0.05; done; rm -f {commands.gone}")
    process = chaos(commands)
    process.send_signal(signal.SIGTERM)
    until(lambda: [e for e in events(process.folder) if e["move"] == "restore"], "the restore has begun")
    for number in SIGNALS:
        process.send_signal(number)
    (commands.folder / "may").touch()
    assert process.wait(30) == 5
    assert not commands.gone.exists()
    recorded = events(process.folder)
    assert recorded[-1]["stage"] == "effective"
    restore = next(e for e in recorded if e["move"] == "restore")
    assert restore["detail"] == {"because": "signal: SIGTERM"}
    assert Journal(commands.folder / "state/brownout/journal").records() == []


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_that_ends_a_program_is_a_reason_to_stop_and_a_second_one_changes_nothing(number):
    before = {each: signal.getsignal(each) for each in SIGNALS}
    stop = Stop()
    try:
        stop.on_signals()
        signal.raise_signal(number)
        assert stop.wait(20)
        for each in SIGNALS:
            signal.raise_signal(each)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert stop.reason == f"signal: {number.name}"


def test_the_end_of_the_leash_restores_and_exits(commands, chaos):
    process = chaos(commands, "--leash")
    process.stdin.close()
    assert process.wait(30) == 5
    assert not commands.gone.exists()


def restore() -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "chaos", "restore"]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)


def test_a_killed_controllers_fault_is_found_and_restored_by_restore(stand, chaos, capsys):
    process = chaos(stand)
    guardian = guardian_of(process)
    os.kill(guardian, signal.SIGSTOP)  # it would restore too, and might be the first
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
        assert __main__.main(["restore"]) == 0
        assert capsys.readouterr().out == "no open faults\n"
    finally:
        os.kill(guardian, signal.SIGCONT)
    until(lambda: process_gone(guardian), "the guardian finds nothing left to do, and has left")
    assert stand.ready() == 1
    assert stand.leases() == []


def test_restore_finds_a_fault_by_its_lease_alone(stand, tmp_path, capsys):
    """On another machine than that of the controller, which is gone: the journal here is empty."""
    undo = stand.undo(deadline=time.time() + 600, folder=tmp_path / "of another machine")
    assert lease.take(stand.client, undo, time.time())
    faults.make(undo.fault, stand.client, undo.made_on, {}).inject(undo.state)
    assert __main__.main(["restore", "--topology", str(stand.write_topology())]) == 0
    assert "scale_to_zero on ml/vllm-server" in capsys.readouterr().out
    assert stand.ready() == 1
    assert stand.leases() == []


def test_another_cluster_than_the_topologys_is_not_touched(stand, run_here, capsys):
    path = stand.write_topology()
    path.write_text(path.read_text().replace(stand.cluster.uid, "another"))
    code, recorded = run_here(SimpleNamespace(write_topology=lambda: path), text=LONG)
    assert (code, recorded) == (64, [])
    assert "chaos touches only that cluster" in capsys.readouterr().err
    assert stand.replicas() == 1


def test_abort_when_restores_and_ends_the_run_with_exit_code_3(commands, run_here):
    """There is no gateway here: every request of the probe fails."""
    code, recorded = run_here(commands, text=PLAIN + "abort_when: {over: 10s, failures: 0.9, at_least: 5}\n")
    assert code == 3
    assert not commands.gone.exists()
    assert [e["stage"] for e in recorded] == ["begin", "commanded", "effective"] * 2
    restore = next(e for e in recorded if e["move"] == "restore")
    assert restore["detail"]["because"].startswith("guard: ")
    assert "abort_when allows 0.9" in restore["detail"]["because"]


def test_a_cluster_that_is_not_embedded_is_refused_before_anything_is_touched(stand, run_here, capsys):
    """There is no live reaper here. The stand marks itself as embedded by a label, which is removed."""
    with stand.as_if_real():
        code, recorded = run_here(stand)
    assert (code, recorded) == (64, [])
    assert "step 'gaming': no reaper serves the namespace ml" in capsys.readouterr().err
    assert (stand.replicas(), stand.leases()) == (1, [])


TRIALS = """
hypothesis: it comes back
trials: 2
phase: 1s
baseline: 0s
settle: 100ms
max: 2m
steps:
  - {name: gaming, at: 500ms, for: 1s, fault: noop, target: vllm}
"""


def test_a_timeline_with_trials_runs_so_many_times_with_a_random_delay_before_each(file, run_here, tmp_path):
    code, recorded = run_here(file, "--seed", "7", text=TRIALS)
    assert code == 0
    begun = {e["trial"]: e for e in recorded if (e["move"], e["stage"]) == ("inject", "begin")}
    back = {e["trial"]: e for e in recorded if (e["move"], e["stage"]) == ("restore", "effective")}
    assert list(begun) == list(back) == [1, 2]
    later_s = pauses(timeline.read(tmp_path / "long.yaml"), 2, seed=7)[1]
    assert later_s > 0
    scheduled_at = begun[2]["at"] - begun[2]["late_ms"] / 1000
    assert scheduled_at - back[1]["at"] >= 0.1 + later_s + 0.5
    assert file.is_() == "up"


def test_a_run_whose_reader_leaves_in_mid_fault_restores_and_verifies_as_any_other(commands, chaos):
    """As in `python -m chaos run … 2>&1 | head -3`."""
    read, write = os.pipe()
    process = chaos(commands, text=PLAIN.replace("for: 120s", "for: 2s"), output=write)
    os.close(write)
    os.close(read)
    assert process.wait(60) == 0
    assert [(e["move"], e["stage"], e["by"]) for e in events(process.folder)][-1] == (
        "restore",
        "effective",
        "timeline",
    )
    assert not commands.gone.exists()
    assert not (process.folder / "guardian.jsonl").exists()  # it was not needed


def test_what_is_not_restored_has_its_exit_code_though_the_output_is_closed(stand, chaos):
    read, write = os.pipe()
    process = chaos(stand, "--restore-within", "2s", output=write)
    os.close(write)
    os.close(read)

    async def failing(request, handler):
        return web.Response(status=500)

    stand.intercept = failing
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 4
    stand.intercept = None
    until(lambda: not stand.leases(), "the guardian has restored")
    assert stand.ready() == 1


ONCE = TRIALS.replace("trials: 2\nphase: 1s\n", "")


def test_a_run_in_which_nothing_was_injected_has_no_evidence(file, run_here, capsys):
    file.path.write_text("down")
    code, recorded = run_here(file, text=ONCE)
    assert code == 5
    assert [(e["move"], e["stage"]) for e in recorded] == [("inject", "fail")]
    assert "unknown: no fault was verified as effective, so nothing was tested" in capsys.readouterr().err


def test_a_target_that_someone_else_changed_is_left_alone_and_the_run_is_unknown(
    file, run_here, tmp_path, capsys
):
    def someone() -> None:
        until(lambda: [e for e in events(tmp_path / "run") if e["stage"] == "effective"], "it is down")
        put(file.path, "another")

    Thread(target=someone).start()
    code, recorded = run_here(file, text=ONCE.replace("for: 1s", "for: 60s"))
    assert code == 5
    assert f"unknown: gaming: {file.path} was set to another by someone else" in capsys.readouterr().err
    assert recorded[-1]["detail"] == {"foreign": True}
    assert file.is_() == "another"


def test_a_run_folder_that_is_not_there_is_refused(file, tmp_path, capsys):
    (tmp_path / "long.yaml").write_text(TRIALS)
    code = __main__.main(run_arguments(tmp_path / "none", file)[1:])
    assert (code, file.is_()) == (64, "up")
    assert f"--run: {tmp_path}/none is not a folder; create it, or omit --run" in capsys.readouterr().err
