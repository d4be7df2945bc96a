"""The operator's own commands: inject, restore, and an inject that outlives the process that started it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chaos import faults
from chaos.errors import CannotInject
from chaos.fault import Deadman
from chaos.host import pidfile
from chaos.host.launched import Launched
from chaos.host.launcher import BARRED, NOT_FOUND
from contract.blast_radius import Handles
from contract.refusal import Refusal
from contract.strict import validate
from tests.chaos.commands import Target
from tests.chaos.stand import ROOT, until


@pytest.fixture
def target(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Target(tmp_path)


def kept(state: dict) -> dict:
    return json.loads(json.dumps(state))


def test_each_command_runs_once_and_leaves_no_note_of_it(target):
    fault = target.make()
    state = kept(fault.snapshot())
    fault.inject(state)
    restorer = target.make()
    assert restorer.restored(state) is None
    for _ in range(4):  # further looks
        restorer.restore(state)
    assert restorer.restored(state) == {"check": 0}
    restorer.disarm(state)
    assert target.done() == ["inject", "restore"]
    assert not list(Path(state["group_file"]).parent.iterdir())


def test_the_first_restore_always_runs_and_later_ones_only_where_the_check_fails(target, monkeypatch):
    fault = target.make()
    state = kept(fault.snapshot())
    fault.restore(state)
    assert target.done() == ["restore"]
    target.up.unlink()
    fault.restore(state)  # just done: not repeated while a tier loads its model
    assert target.done() == ["restore"]
    monkeypatch.setattr("chaos.faults.command.RESTORE_AGAIN_S", 0.0)
    fault.restore(state)
    fault.restore(state)
    assert target.done() == ["restore", "restore"]


def test_what_is_not_there_cannot_be_taken_away(target):
    target.up.unlink()
    with pytest.raises(CannotInject, match=r"the check fails, .*: test -e .*: exit 1"):
        target.make().snapshot()


@pytest.mark.parametrize(
    ("inject", "timeout", "words"),
    [
        (["sh", "-c", "echo no such host >&2; exit 4"], "30s", r"inject: sh -c .*: exit 4: no such host$"),
        (
            ["no-such-program"],
            "30s",
            r"inject: no-such-program: exit 127: no-such-program: No such file or directory",
        ),
        (["sleep", "600"], "300ms", r"inject: sleep 600: not finished within 0\.3 s"),
    ],
)
def test_an_inject_that_fails_is_reported_and_never_run_again(target, inject, timeout, words):
    fault = target.make({"timeout": timeout}, inject=inject)
    state = kept(fault.snapshot())
    with pytest.raises(CannotInject, match=words):
        fault.inject(state)
    with pytest.raises(CannotInject, match="barred"):
        fault.inject(state)


def test_a_restore_that_fails_is_reported_by_its_last_line_and_tried_again_a_little_later(
    target, monkeypatch
):
    fault = target.make(restore=["sh", "-c", f"echo try >> {target.log}; printf '%0300d' 7 >&2; exit 1"])
    state = kept(fault.snapshot())
    for _ in range(5):
        with pytest.raises(OSError, match=r"restore: sh -c .*: exit 1: 0{200}$"):
            fault.restore(state)
    assert target.done() == ["try"]
    monkeypatch.setattr("chaos.faults.command.FAILED_AGAIN_S", 0.0)
    with pytest.raises(OSError, match="exit 1"):
        fault.restore(state)
    assert target.done() == ["try", "try"]


@pytest.mark.parametrize("status", [126, 127, 255])
def test_a_check_that_cannot_run_leaves_the_state_unknown(target, status):
    fault = target.make(check=["sh", "-c", f"test -e {target.up} || exit {status}"])
    state = kept(fault.snapshot())
    fault.inject(state)
    for verb in (fault.effective, fault.restored):
        with pytest.raises(OSError, match=f"check: .*exit {status}"):
            verb(state)


class Controller:
    """A separate process that injects, and can be killed during the inject."""

    CODE = "import json, sys; from chaos import faults; from chaos.target import Handle, Target; faults.make('command', None, Target('vllm', Handle('command', 'vllm', json.loads(sys.argv[1]))), {}).inject(json.loads(sys.argv[2]))"

    def __init__(self, target: Target, state: dict, **other) -> None:
        given = json.dumps(target.given | other)
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, given, json.dumps(state)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.mark.parametrize("ends", ["by SIGTERM", "only by SIGKILL"])
def test_an_inject_that_outlives_its_controller_is_ended_before_the_restore(
    target, tmp_path, ends, monkeypatch
):
    """The controller is killed with its group; its inject would take the tier away after the restore."""
    monkeypatch.setattr("chaos.host.launched.TERM_S", 0.3)
    begun, hold = tmp_path / "begun", tmp_path / "hold"
    os.mkfifo(hold)
    deaf = "trap '' TERM; " if ends == "only when it is killed" else ""
    inject = ["sh", "-c", f"{deaf}touch {begun}; read x < {hold}; rm {target.up}"]
    state = kept(target.make().snapshot())
    controller = Controller(target, state, inject=inject)
    until(begun.exists, "the inject runs")
    controller.kill()

    restorer = target.make()
    group = Launched(state["group_file"]).running()
    assert group
    restorer.restore(state)
    assert not Launched(state["group_file"]).running()
    assert target.done() == ["restore"]
    assert restorer.restored(state)
    restorer.restore(state)
    restorer.disarm(state)
    assert target.done() == ["restore"]


def test_what_an_inject_left_running_is_ended_and_restored_after(target):
    """It has ended, and its background process keeps running: `sh -c 'stress &'`."""
    fault = target.make(inject=["sh", "-c", f"sleep 600 & rm {target.up}"])
    state = kept(fault.snapshot())
    fault.inject(state)
    left = Launched(state["group_file"]).running()
    assert len(left) == 1
    fault.restore(state)
    assert pidfile.living(left[0].pid, left[0].start) is None
    assert target.done() == ["restore"]


def test_an_inject_that_has_not_begun_when_the_restorer_comes_never_does(target):
    """The controller was killed between starting the launcher and the launcher's first line."""
    state = kept(target.make().snapshot())
    restorer = target.make()
    restorer.restore(state)
    late = subprocess.run(Launched(state["group_file"]).command(target.given["inject"]), capture_output=True)
    assert late.returncode == BARRED
    restorer.disarm(state)  # the bar stays: the launcher may still arrive
    late = subprocess.run(Launched(state["group_file"]).command(target.given["inject"]), capture_output=True)
    assert late.returncode == BARRED
    assert target.done() == ["restore"]
    assert target.up.exists()


def test_what_is_launched_is_on_disk_before_it_runs_and_a_reused_pid_is_not_taken_for_it(target, tmp_path):
    file = tmp_path / "group"
    launched = Launched(file)
    child = subprocess.Popen(launched.command(["sh", "-c", f"cat {file}; exec sleep 600"]), stdout=subprocess.PIPE, start_new_session=True)  # fmt: skip
    seen = os.read(child.stdout.fileno(), 200)
    assert json.loads(seen)["pid"] == child.pid
    until(lambda: [p.pid for p in launched.running()] == [child.pid], "its first child has ended")
    recorded = json.loads(file.read_text())
    file.write_text(json.dumps(recorded | {"start": recorded["start"] - 1}))
    assert launched.running() == []
    file.write_text(json.dumps(recorded))
    assert launched.end()
    assert not launched.end()
    child.wait()
    child.stdout.close()
    assert (
        subprocess.run(Launched(tmp_path / "other").command(["no-such"]), capture_output=True).returncode
        == NOT_FOUND
    )


def test_a_full_disk_does_not_hinder_the_restore(target, tmp_path):
    state = kept(target.make().snapshot())
    blocked = tmp_path / "a-file"
    blocked.touch()
    target.up.unlink()
    fault = target.make()
    fault.restore(state | {"group_file": str(blocked / "under" / "it")})
    assert fault.restored(state)


def test_the_dead_man_is_the_handles_own_and_gets_its_delay(target, tmp_path):
    assert target.make().deadman is Deadman.GUARDIAN
    target.make().arm({}, 90)
    armed = tmp_path / "armed"
    fault = target.make(deadman=["sh", "-c", f"echo in {{seconds}} s > {armed}"])
    assert fault.deadman is Deadman.OWN
    fault.arm({}, 89.2)
    assert armed.read_text() == "in 90 s\n"
    with pytest.raises(CannotInject, match=r"the dead-man is not armed: false: exit 1"):
        target.make(deadman=["false"]).arm({}, 90)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 30}, "30 is a bare number, not a duration; write 30s"),
        ({"timout": "30s"}, "no key 'timout'; did you mean 'timeout'?"),
    ],
)
def test_options_are_checked(options, words):
    with pytest.raises(Refusal, match=words.replace("?", r"\?")):
        validate(options, faults.driver("command").options, "with")


def recipes() -> list[dict]:
    """The handles of docs/recipes.md, and those of the topologies that it names."""
    page = (ROOT / "docs/recipes.md").read_text()
    found = [yaml.safe_load(block)["handles"] for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    for name in ("systemd", "one_host", "docker", "gaming"):
        found += [
            t["handles"] for t in yaml.safe_load((ROOT / f"topologies/{name}.yaml").read_text())["tiers"]
        ]
    return found


@pytest.mark.parametrize("given", recipes(), ids=str)
def test_every_recipe_is_a_handle_and_its_shell_lines_are_no_nonsense(given):
    handles = Handles.model_validate(given)
    command = handles.get("command")
    if command is None:
        return
    assert command.deadman, "a recipe shows its dead-man"
    assert "{seconds}" in " ".join(command.deadman)
    for argv in (
        command.inject,
        command.check,
        command.restore,
        command.deadman,
    ):
        if argv[:2] == ["sh", "-c"] or argv[0] == "ssh":
            line = argv[-1].replace("{seconds}", "90")
            assert subprocess.run(["sh", "-n", "-c", line]).returncode == 0, line
