"""The bench of a trial: an embedded API server with one engine behind it, and the processes that the trial starts."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from chaos.kube.cluster import process_gone
from chaos.undo.journal import Journal, Undo
from embedded.apiserver.resources import DEPLOYMENTS
from tests.chaos.stand import ROOT, Stand, events, until
from tests.forked import Forked

Process = subprocess.Popen[str] | Forked

TIMELINE = """
hypothesis: the target is restored whatever happens to chaos
baseline: 0s
settle: 1s
max: 5m
steps: [{{name: gaming, at: 3s, for: {for_s}s, fault: {fault}, target: vllm, with: {options}}}]
"""


class Bench:
    """Runs one trial after another on the same Stand; `trial` prepares the next.

    `forked`: chaos is forked from a process that has imported it, which saves a second of CPU per trial.
    """

    def __init__(self, folder: Path, forked: bool = False) -> None:
        self.folder, self._forked = folder, forked
        folder.mkdir(parents=True, exist_ok=True)
        self.stand = Stand(folder)
        self.moved: list[
            tuple[float, int, int]
        ] = []  # when, replicas in the spec, ready replicas of the target
        self.stand.cluster.store.listen(self._on_change)
        self._started: list[Process] = []
        self.run = folder

    def trial(self, name: str) -> None:
        self.run = self.folder / name
        self.run.mkdir()
        self.stand.cluster.writes.admission = []
        self.stand.back()
        self.moved.clear()

    def chaos(
        self, for_s: float, restore_within: str = "60s", url: str | None = None, shell: str = "",
        fault: str = "scale_to_zero", options: str = "{}",
    ) -> "Controller":  # fmt: skip
        """`python -m chaos run` in a process group of its own. `shell`: run before it, to set limits of the process."""
        (self.run / "timeline.yaml").write_text(TIMELINE.format(for_s=for_s, fault=fault, options=options))
        topology = self.stand.write_topology(self.run / "topology.yaml", url)
        argv = ["run", "--topology", str(topology), "--timeline", str(self.run / "timeline.yaml"), "--run", str(self.run),
                "--restore-within", restore_within]  # fmt: skip
        return Controller(self._start(argv, shell=shell), self.run)

    def command(self, *argv: str, state: str = "state") -> "Process":
        """`python -m chaos …` as another process; `state`: its state folder. Another machine has another journal."""
        return self._start(argv, state)

    @property
    def journal(self) -> Journal:
        return Journal(self.run / "state" / "brownout" / "journal")

    def open_records(self) -> list[Undo]:
        return self.journal.records()

    def up(self) -> bool:
        """Read from the store itself, so that polling does not slow the other trials."""
        found = self.stand.cluster.store.get(DEPLOYMENTS, "ml", "vllm-server")
        assert found is not None
        ready = found.get("status", {}).get("readyReplicas", 0)
        return (found["spec"]["replicas"], ready) == (1, 1) and not self.stand.flag.exists()

    def await_up(self, within_s: float = 60.0) -> None:
        until(self.up, "the target is up again", within_s)

    def commanded_after(self, at: float) -> float | None:
        """Seconds until the target's replicas were set again; None: it was never away after that."""
        away = max((t for t, replicas, _ in self.moved if not replicas), default=None)
        back = next((t for t, replicas, _ in self.moved if away and t > away and replicas), None)
        return back - at if back and back > at else None

    def ready_after(self, at: float) -> float | None:
        """Seconds until it was ready again for good; None: it was never away after that."""
        down = max((t for t, _, ready in self.moved if not ready), default=None)
        back = next((t for t, _, ready in self.moved if down and t > down and ready), None)
        return back - at if back and back > at else None

    def end_all(self) -> None:
        """Kills what a trial started and did not wait for, guardians too: none may restore in the next trial."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._started.clear()
        for process in psutil.process_iter():
            if _state_of(process).startswith(f"{self.folder}/"):
                process.kill()

    def close(self) -> None:
        self.end_all()
        self.stand.close()

    def _start(self, argv: Sequence[str], state: str = "state", shell: str = "") -> "Process":
        process: Process
        env = {**os.environ, "XDG_STATE_HOME": str(self.run / state)}
        with open(self.run / "log", "a") as log:
            if self._forked and not shell:
                process = Forked("chaos", *argv, stdout=log, stderr=log, env=env)
            else:
                limited = ["sh", "-c", f'{shell}; exec "$@"', "sh"] if shell else []
                process = subprocess.Popen(
                    [*limited, sys.executable, "-m", "chaos", *argv], cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, text=True, start_new_session=True, restore_signals=True,
                    preexec_fn=_default_signals,
                )  # fmt: skip
        self._started.append(process)
        return process

    def _on_change(self, event: Any) -> None:
        if event.resource is DEPLOYMENTS and event.after["metadata"]["name"] == "vllm-server":
            status = event.after.get("status", {})
            self.moved.append((time.time(), event.after["spec"]["replicas"], status.get("readyReplicas", 0)))


class Controller:
    """The process under test, and its guardian."""

    def __init__(self, process: "Process", run: Path) -> None:
        self.process, self.run, self.pid = process, run, process.pid
        self._guardian: int | None = None

    def guardian(self) -> int:
        """Its pid. The first call must be made while the controller lives."""
        if self._guardian is None:
            self._guardian = until(self._look, "the guardian has been started")
        return self._guardian

    def await_event(self, move: str, stage: str, within_s: float = 90.0) -> None:
        until(lambda: (move, stage) in self.stages(), f"{move} {stage}", within_s)

    def stages(self) -> list[tuple[str, str]]:
        return [(e["move"], e["stage"]) for e in self.events()]

    def events(self, file: str = "chaos.jsonl") -> list[dict[str, Any]]:
        if file == "chaos.jsonl":
            return events(self.run)
        path = self.run / file
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self) -> str:
        return (self.run / "log").read_text()

    def wait(self, within_s: float = 60.0) -> int:
        return self.process.wait(within_s)

    def await_guardian_gone(self, within_s: float = 60.0) -> None:
        pid = self._guardian
        if pid is not None:
            until(lambda: process_gone(pid), "the guardian has left", within_s)

    def _look(self) -> int | None:
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            return next(
                (int(p) for p in children if b"guardian" in Path(f"/proc/{p}/cmdline").read_bytes()), None
            )
        except FileNotFoundError:
            return None


def _state_of(process: psutil.Process) -> str:
    """The state folder that identifies a process of a trial; empty for a process of another user."""
    try:
        return process.environ().get("XDG_STATE_HOME", "")
    except psutil.Error:
        return ""


def _default_signals() -> None:
    """A background shell starts its jobs with SIGINT ignored; a trial needs the default dispositions."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
