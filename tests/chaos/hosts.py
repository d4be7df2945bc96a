"""Hosts with systemd for the tests: one recorded, one real. Both are reached by the same three commands on PATH."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from chaos.host import spawn
from tests.chaos.recorded import systemd
from tests.chaos.stand import until

RECORDED = Path(__file__).parent / "recorded"
UNITS = {"engine.service": "no", "again.service": "always", "engine@1.service": "no"}
NAMESPACES = ("--mount", "--pid", "--cgroup", "--ipc", "--uts")


class Host:
    """Some units, all running; `folder` goes on PATH and keeps the log of calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """A command of someone else on the host."""
        done = subprocess.run(
            [self.folder / "systemctl", *arguments], capture_output=True, text=True, timeout=60, check=check
        )
        return done.stdout

    def show(self, unit: str, key: str) -> str:
        """One property; empty where it is not known."""
        return self.systemctl("show", f"--property={key}", unit).strip().partition("=")[2]

    def calls(self) -> list[list[str]]:
        """The drivers' commands, without those that only read."""
        path = self.folder / "calls.jsonl"
        commands = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [c for c in commands if "show" not in c]

    def _command(self, name: str, line: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nexec {line}\n")
        path.chmod(0o755)


class RecordedHost(Host):
    """The double in tests/chaos/recorded/systemd.py, as commands; where it `answers_here`, in this process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name in ("systemctl", "systemd-run", "ssh"):
            self._command(name, f'{sys.executable} -I -S {RECORDED / "systemd.py"} {folder} {name} "$@"')
        self._command("cat", "true")
        self.units = {
            name: {
                "LoadState": "loaded",
                "ActiveState": "active",
                "SubState": "running",
                "InvocationID": f"run-{n}0",
                "Restart": restart,
                "CanFreeze": "yes",
                "FreezerState": "running",
            }
            for n, (name, restart) in enumerate(UNITS.items(), 1)
        }
        self.set({})

    def set(self, changes: dict[str, dict[str, Any]]) -> None:
        """Units as a test wants them."""
        for name, change in changes.items():
            self.units.setdefault(name, {}).update(change)
        (self.folder / "units.json").write_text(json.dumps(self.units))

    def answers_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Run the drivers' commands in this process: dozens a test, each otherwise two processes."""
        really = spawn.run

        def run(argv: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None) -> spawn.Ended:
            name, *given = shlex.split(argv[-1]) if argv[0] == "ssh" else argv
            if name not in ("systemctl", "systemd-run"):
                return really(argv, timeout_s, env)
            if argv[0] == "ssh":
                systemd.log(self.folder, argv[0], list(argv[1:]))
            return spawn.Ended(tuple(argv), *systemd.answer(self.folder, name, given))

        monkeypatch.setattr(spawn, "run", run)

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        found = systemd.answer(self.folder, "systemctl", list(arguments))
        assert not (check and found.code), found.err
        return found.out

    def back(self) -> None:
        pass

    def close(self) -> None:
        pass


class RealHost(Host):
    """A systemd booted as PID 1 of separate namespaces; it ends with them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cgroup = Path(tempfile.mkdtemp(prefix="brownout-", dir=unified()))
        boot = (
            f"echo $$ > {self._cgroup}/cgroup.procs && exec unshare {' '.join(NAMESPACES)} --fork --mount-proc "
            f"--kill-child sh {RECORDED / 'boot.sh'}"
        )
        self._unshare = subprocess.Popen(["sh", "-c", boot], stdin=subprocess.DEVNULL, start_new_session=True)
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        one = until(lambda: children.read_text().split(), "unshare has forked")[0]
        # With its own PATH: with ours it would find these commands.
        inside = f"--target {one} {' '.join(NAMESPACES)} -- env PATH={os.defpath}"
        for name in ("systemctl", "systemd-run", "cat"):
            self._command(name, f'{shutil.which("nsenter")} {inside} {name} "$@"')
        self._command("ssh", f'{sys.executable} -I -S {RECORDED / "systemd.py"} {folder} ssh "$@"')
        self._root = Path(f"/proc/{one}/root")
        until(lambda: self.systemctl("is-system-running", check=False).strip() == "running", "systemd is up")

    def install(self, units: dict[str, str]) -> None:
        """Units of a test's own; the network and all files but /run are this machine's."""
        for name, text in units.items():
            (self._root / "run/units" / name).write_text(text)
        self.systemctl("daemon-reload")

    def back(self) -> None:
        for unit in UNITS:
            self.systemctl("thaw", unit, check=False)
            self.systemctl("stop", unit)
            self.systemctl("reset-failed", unit, check=False)
            self.systemctl("start", unit)
        for line in self.systemctl("list-timers", "--all", "--no-legend", "--plain").splitlines():
            timer = next(word for word in line.split() if word.endswith(".timer"))
            self.systemctl("stop", timer, check=False)

    def close(self) -> None:
        self._unshare.kill()  # --kill-child: systemd goes with it, and its namespace's processes with that
        self._unshare.wait()

        def removed() -> bool:
            for path in sorted(self._cgroup.rglob("*/"), reverse=True):
                try:
                    path.rmdir()
                except OSError:
                    return False
            try:
                self._cgroup.rmdir()
            except OSError:
                return False
            return True

        until(removed, "its cgroups are empty")


def unified() -> Path | None:
    """Where version 2 of cgroups is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None


def why_not_real() -> str | None:
    """What is missing to boot a systemd; None: nothing."""
    if os.geteuid() != 0:
        return "only root may make the namespaces that a systemd of its own needs"
    for needed in ("/lib/systemd/systemd", "/usr/bin/dbus-daemon"):
        if not os.path.exists(needed):
            return f"there is no {needed}"
    if not all(shutil.which(name) for name in ("unshare", "nsenter", "systemctl", "systemd-run")):
        return "unshare, nsenter, systemctl or systemd-run is missing"
    where = unified()
    if where is None or not os.access(where, os.W_OK):
        return "version 2 of cgroups is not mounted writably"
    return None
