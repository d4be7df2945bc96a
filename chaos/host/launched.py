"""A command that may outlive the process that started it: its process group is on disk before it runs, for a restorer.

Each command has its own file, and the process that creates it first wins: if the launcher does, the command runs; if a
restorer does, the command never runs.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.host import pidfile
from chaos.host.pidfile import Seen
from chaos.state_folder import default_folder

_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
TERM_S = 2.0  # between SIGTERM and SIGKILL
KILL_S = 3.0
POLL_S = 0.02


class Launched:
    """One command that runs at most once."""

    def __init__(self, file: str | Path) -> None:
        self._file = Path(file)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs it; start it in its own session."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        return [sys.executable, "-I", "-S", _LAUNCHER, str(self._file), *argv]

    def bar(self) -> None:
        """Prevent its start from now on; a command that already runs is not touched."""
        fresh = self._file.with_name(f"{self._file.name}.bar-{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            try:
                fresh.write_text("{}")
                os.link(fresh, self._file)
            finally:
                fresh.unlink(missing_ok=True)
        except OSError:
            pass  # it has started; or the disk is full, which must not fail a restore

    def running(self) -> list[Seen]:
        """The living processes of its group."""
        try:
            recorded = json.loads(self._file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return []
        if "pid" not in recorded:
            return []
        leader = pidfile.seen(recorded["pid"])
        if leader is not None and leader.start != recorded["start"]:
            return []  # the pid has been reused, so the group is gone
        return pidfile.members(recorded["pid"])

    def end(self) -> bool:
        """End its process group; whether there was one. Raises OSError where it does not end."""
        found = self.running()
        if not found:
            return False
        for number, within_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
            try:
                os.killpg(found[0].group, number)
            except ProcessLookupError:
                pass
            until = time.monotonic() + within_s
            while time.monotonic() < until:
                if not self.running():
                    return True
                time.sleep(POLL_S)
        raise OSError(f"process group {found[0].group} does not end")

    def over(self) -> bool:
        """Whether it may run: it has never run, or it has ended, and its file is removed now."""
        if not self._file.exists():
            return True
        if self.running():
            return False
        self.forget()  # the file that was read: no process creates another while it exists
        return True

    def forget(self) -> None:
        """Remove the file of a started command; a bar stays, since the barred command may still arrive."""
        try:
            if "pid" in json.loads(self._file.read_text()):
                self._file.unlink(missing_ok=True)
        except (FileNotFoundError, NotADirectoryError):
            pass


def folder() -> Path:
    """Next to the journal: `$XDG_STATE_HOME/brownout/commands`."""
    return default_folder().with_name("commands")
