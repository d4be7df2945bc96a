"""An error that no code expects has an exit code of its own, 70, in every program: 1 would mean a failed expectation."""

import os
import signal
import subprocess
import sys

import pytest

from contract.run import read_manifest
from tests import sabotage
from tests.chaos.stand import ROOT
from tests.scenarios.server import Server
from tests.whole.small_run import GOOD, SmallRun
from tests.whole.stack import latest

TOPOLOGY = ("--topology", "topologies/embedded.yaml")
TIMELINE = "chaos/timelines/three_tier.yaml"
BUG = "def {name}(*given, **named): raise RuntimeError('a bug')\n"


@pytest.mark.parametrize(
    ("module", "code", "argv"),
    [
        ("contract.topology", BUG.format(name="read"), ("chaos", "check", *TOPOLOGY, "--timeline", TIMELINE)),
        ("contract.topology", BUG.format(name="read"), ("chaos", "run", *TOPOLOGY, "--timeline", TIMELINE)),
        ("contract.topology", BUG.format(name="read"), ("analysis", "check", TIMELINE, *TOPOLOGY)),
        ("contract.topology", BUG.format(name="read"), ("embedded", "stack", *TOPOLOGY)),
        ("embedded.engine.options", BUG.format(name="parse"), ("embedded.engine",)),
        ("chaos.plan", "raise RuntimeError('a bug')", ("chaos", "faults")),
        ("analysis.judge", "raise ImportError('a bug')", ("analysis", "schema")),
        ("contract.topology", "raise RuntimeError('a bug')", ("embedded", "status")),
        ("scenarios.chat", "raise RuntimeError('a bug')", ("locust", "-f", "locustfile.py", "--headless")),
        ("scenarios.run.arguments", BUG.format(name="declare"), ("locust", "-f", "locustfile.py", "--headless")),
        ("scenarios.run.inputs", BUG.format(name="refuse_ineffective"), ("locust", "-f", "locustfile.py", "--headless")),
        ("locust.stats", BUG.format(name="validate_stats_configuration"), ("locust", "-f", "locustfile.py", "--headless")),
    ],
)  # fmt: skip
def test_every_program_ends_with_70_and_its_traceback(tmp_path, module, code, argv):
    done = sabotage.run(sabotage.environment(tmp_path, argv[:1], module, code), *argv)
    assert done.returncode == 70, done.stdout
    assert "Traceback (most recent call last)" in done.stdout
    assert "Error: a bug" in done.stdout


def test_an_engine_whose_library_is_missing_ends_with_70():
    done = sabotage.run(dict(os.environ), "embedded.llamacpp")
    assert (done.returncode, "No module named 'xllamacpp'" in done.stdout) == (70, True)


def test_ctrl_c_keeps_its_exit_code(tmp_path):
    code = "def read(*given): raise KeyboardInterrupt\n"
    argv = ("chaos", "check", *TOPOLOGY, "--timeline", TIMELINE)
    done = sabotage.run(sabotage.environment(tmp_path, ["chaos"], "contract.topology", code), *argv)
    assert done.returncode == -signal.SIGINT


def test_make_up_passes_on_that_the_stack_met_an_error_of_its_own(tmp_path):
    env = sabotage.environment(tmp_path, ["stack"], "embedded.stack", BUG.format(name="hold"))
    topology = str(ROOT / "topologies/embedded.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "embedded", "up", "--topology", topology], cwd=tmp_path, env=env, timeout=60,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 70
    assert "RuntimeError: a bug" in done.stderr
    assert "the stack ended by an error of its own (exit code 70)" in done.stderr


@pytest.fixture
def gateway():
    with Server([0.05, GOOD]) as server:
        yield server


@pytest.fixture
def small(tmp_path, gateway, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = SmallRun(tmp_path, gateway, baseline="2s")
    yield found
    found.end()


def arguments(small, *more):
    return (
        "locust", "-f", "locustfile.py", "--loglevel", "WARNING", "--headless", "--only-summary", "--users", "4", "--spawn-rate", "4",
        "--topology", str(small.topology), "--timeline", str(small.timeline), "--results", str(small.results), *more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "module", "code", "message"),
    [
        (("chaos", "check"), "contract.topology", BUG.format(name="read"), "chaos check --topology"),
        (("analysis", "check"), "contract.topology", BUG.format(name="read"), "analysis check"),
        (("chaos", "run"), "contract.topology", BUG.format(name="read"), "chaos ended by an error of its own (exit code 70) before"),
        (("chaos", "guardian"), "chaos.undo.guardian", BUG.format(name="own_stdin"), "the guardian ended by an error of its own"),
    ],
)  # fmt: skip
def test_a_child_that_ends_with_70_before_the_run_is_reported_as_such(
    small, tmp_path, words, module, code, message
):
    done = sabotage.run(sabotage.environment(tmp_path, words, module, code), *arguments(small))
    assert done.returncode == 70, done.stdout
    assert message in done.stdout
    assert "ended by an error of its own (exit code 70)" in done.stdout
    assert (small.folder / "there").exists()


@pytest.mark.verify
def test_an_analysis_that_ends_with_70_is_no_failed_expectation(small, tmp_path):
    code = BUG.format(name="judge")
    done = sabotage.run(sabotage.environment(tmp_path, ["report"], "analysis.judge", code), *arguments(small))
    assert done.returncode == 70, done.stdout
    assert "RuntimeError: a bug" in done.stdout
    assert (
        "there is no verdict: the analysis ended by an error of its own (exit code 70); make report RUN="
        in done.stdout
    )
    assert "verdict_exit_code" not in read_manifest(latest(small.results))


# The main thread ends by an error as soon as the fault is there.
DIES = """
_run = run
def run(bound, context, started_at, trial):
    import os, threading, time
    there = context.folder.parent.parent / "there"
    threading.Thread(target=_run, args=(bound, context, started_at, trial)).start()
    while there.exists():
        time.sleep(0.01)
    raise RuntimeError("a bug")
"""


@pytest.mark.verify
def test_chaos_that_ends_with_70_during_a_fault_leaves_nothing_broken_and_the_run_has_that_code(
    small, tmp_path
):
    env = sabotage.environment(tmp_path, ["chaos", "run"], "chaos.runner", DIES)
    done = sabotage.run(env, *arguments(small))
    assert done.returncode == 70, done.stdout
    assert "RuntimeError: a bug" in done.stdout
    assert (small.folder / "there").exists()
    manifest = read_manifest(latest(small.results))
    assert (manifest["status"], manifest["reason"]) == (
        "aborted", "error: chaos ended by an error of its own (exit code 70)",
    )  # fmt: skip


# Locust logs this and goes on.
RAISES = """
_stopping = RunLifecycle.stopping
def stopping(self, **named):
    _stopping(self, **named)
    raise RuntimeError("a bug")
RunLifecycle.stopping = stopping
"""


@pytest.mark.verify
def test_an_error_of_the_load_generators_own_listeners_is_no_pass(small, tmp_path):
    env = sabotage.environment(tmp_path, ["locust"], "scenarios.run.lifecycle", RAISES)
    done = sabotage.run(env, *arguments(small))
    assert "RuntimeError: a bug" in done.stdout
    assert done.returncode == 70, done.stdout


def test_an_error_of_a_workers_own_ends_the_run_with_70(small, tmp_path):
    env = sabotage.environment(
        tmp_path, ["locust"], "scenarios.gateway.distributed.worker", BUG.format(name="check_gateway")
    )
    ports = ("--processes", "1", "--master-bind-port", small.port, "--master-port", small.port)
    done = sabotage.run(env, *arguments(small, *ports))
    assert done.returncode == 70, done.stdout
    assert "worker-0" in done.stdout
    assert "RuntimeError: a bug" in done.stdout


@pytest.mark.verify
def test_a_failed_expectation_keeps_its_exit_code(small, tmp_path):
    code = "def report(folder): return Verdict('a fail', EXIT_FAIL)\n"
    done = sabotage.run(
        sabotage.environment(tmp_path, ["locust"], "scenarios.run.verdict", code), *arguments(small)
    )
    assert done.returncode == 1, done.stdout
    assert "a fail" in done.stdout
