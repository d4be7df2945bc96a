"""Whichever process is killed: the fault is restored, the recording can be read, and no process of ours is left."""

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.run import read_manifest
from tests import forked
from tests.chaos.stand import ROOT, events, until
from tests.whole.stack import SHORT, latest, locust_process, write_inputs

# The fault holds long enough to be killed in its middle.
HOLD = SHORT.replace("for: 12s", "for: 90s").replace("for: 4s", "for: 60s")
MARK = "BROWNOUT_TEST_MARK"


class Marked:
    """Processes that a test starts have a mark in their environment, and so have their children: so leftovers are found."""

    def __init__(self, monkeypatch) -> None:
        self.mark = secrets.token_hex(8)
        monkeypatch.setenv(MARK, self.mark)

    def processes(self) -> dict[int, str]:
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environ = (entry / "environ").read_bytes()
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it ended meanwhile
            if f"{MARK}={self.mark}".encode() in environ.split(b"\0"):
                found[int(entry.name)] = words
        return found

    def pid_of(self, *words: str) -> int:
        """The one process whose command line has all these words."""
        (pid,) = [p for p, line in self.processes().items() if all(w in line for w in words)]
        return pid

    def none_left(self, within_s: float = 60.0) -> None:
        until(lambda: not self.processes(), f"all have gone; left: {self.processes()}", within_s)


@pytest.fixture
def marked(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = Marked(monkeypatch)
    yield found
    for pid in found.processes():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it went by itself


@pytest.fixture
def timeline(tmp_path):
    path = tmp_path / "hold.yaml"
    path.write_text(HOLD)
    return path


def in_mid_fault(results: Path) -> Path:
    """Waits until both tiers are gone; the run's folder."""

    def both() -> bool:
        run = results / "latest"
        return run.exists() and len([e for e in events(run) if e["stage"] == "effective"]) == 2

    until(both, "both faults are in effect", 90)
    return latest(results)


@pytest.mark.verify
def test_a_killed_locust_leaves_nothing_broken_and_a_run_that_can_be_reported(
    stack, marked, timeline, tmp_path
):
    process = locust_process(stack.path, timeline, tmp_path / "results")
    run = in_mid_fault(tmp_path / "results")
    process.kill()
    process.communicate()
    marked.none_left()
    restores = [e for e in events(run) if e["move"] == "restore" and e["stage"] == "effective"]
    assert {e["target"] for e in restores} == {"vllm", "ollama"}
    assert stack.ready("ml", "vllm-server") == stack.ready("ml", "ollama") == 1
    assert read_manifest(run)["status"] == "running"
    report = forked.run("analysis", "report", str(run))
    verdict = json.loads((run / "report" / "verdict.json").read_text())
    assert verdict["exit_code"] == report.returncode != 0
    assert "cut short" in report.stdout + (run / "report" / "summary.md").read_text()


@pytest.mark.verify
@pytest.mark.parametrize(
    "victim",
    ["make", "make's group", "locust", "chaos", "stack", "gateway", "engine", "Ctrl-C", "Ctrl-C twice"],
)
def test_whatever_is_killed_no_process_is_left_and_no_port_is_held(
    marked, timeline, tmp_path, victim, monkeypatch
):
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-" + secrets.token_hex(8))
    results = tmp_path / "results"
    make = subprocess.Popen(
        ["make", "soak", f"TOPOLOGY={write_inputs(tmp_path)}", f"TIMELINE={timeline}", f"RESULTS={results}"],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
        # A shell starts its background jobs with SIGINT ignored, and that is inherited: a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    run = in_mid_fault(results)
    ports = held_ports(marked)
    assert len(ports) == 3  # the API server, the gateway, the cloud engine; the other two are taken away
    match victim:
        case "make":
            make.kill()
        case "make's group":
            os.killpg(make.pid, signal.SIGKILL)
        case "Ctrl-C":
            os.killpg(make.pid, signal.SIGINT)
        case "Ctrl-C twice":
            os.killpg(make.pid, signal.SIGINT)
            until(lambda: [e for e in events(run) if e["move"] == "restore"], "the restore has begun")
            os.killpg(make.pid, signal.SIGINT)
        case "locust":
            os.kill(marked.pid_of("-m locust"), signal.SIGKILL)
        case "chaos":
            os.kill(marked.pid_of("-m chaos run"), signal.SIGKILL)
        case "stack":
            os.kill(marked.pid_of("-m embedded stack"), signal.SIGKILL)
        case "gateway":
            os.kill(marked.pid_of(".venv-gateway"), signal.SIGKILL)
        case "engine":
            os.kill(marked.pid_of("--personality cloud"), signal.SIGKILL)
    if victim in ("gateway", "engine"):
        # Its Pod starts it again and the run goes on; then it is stopped with Ctrl-C.
        until(lambda: len(held_ports(marked)) >= len(ports), "it listens again", 60)
        os.killpg(make.pid, signal.SIGINT)
    make.communicate(timeout=90)
    marked.none_left()
    assert not held_ports(marked)
    by = {(e["by"], e["target"]) for e in events(run) + lines_of(run, "guardian") if is_verified_restore(e)}
    assert by == {
        "stack": set(),
        "chaos": {("guardian", "vllm"), ("guardian", "ollama")},
    }.get(victim, {("timeline", "vllm"), ("timeline", "ollama")})
    subprocess.run([sys.executable, "-m", "analysis", "report", str(run)], cwd=ROOT, capture_output=True)
    verdict = json.loads((run / "report" / "verdict.json").read_text())
    # An embedded stack's Pods die with it; a restore that could not be verified is not reported as restored.
    assert verdict["exit_code"] == 4 if victim == "stack" else verdict["exit_code"] in (1, 5)


def lines_of(run: Path, name: str) -> list[dict]:
    path = run / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_verified_restore(event: dict) -> bool:
    return (event["move"], event["stage"]) == ("restore", "effective")


def held_ports(marked: Marked) -> set[int]:
    """Ports on which a marked process listens."""
    inodes = set()
    for pid in marked.processes():
        for fd in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(fd)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            found.add(int(fields[1].split(":")[1], 16))
    return found


@pytest.mark.verify
def test_two_stacks_run_side_by_side(marked, tmp_path, monkeypatch):
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-" + secrets.token_hex(8))
    (tmp_path / "short.yaml").write_text(SHORT)
    both = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        inputs = write_inputs(tmp_path / name)
        both.append(locust_process(inputs, tmp_path / "short.yaml", tmp_path / name / "results"))
    for process in both:
        out, _ = process.communicate(timeout=170)
        assert process.returncode == 0, out
    marked.none_left()
