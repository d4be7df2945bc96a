"""A command that may outlive whoever began it: its process group is on disk before it runs, so that a restorer finds it.

A file of its own for each. Whoever makes it first wins: the launcher, and the command runs; a restorer, and it never will.
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
        """The command line that runs it; it must be started in a session of its own."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        return [sys.executable, "-I", "-S", _LAUNCHER, str(self._file), *argv]

    def bar(self) -> None:
        """From now on it does not begin any more; one that has begun is not touched."""
        fresh = self._file.with_name(f"{self._file.name}.bar-{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            try:
                fresh.write_text("{}")
                os.link(fresh, self._file)
            finally:
                fresh.unlink(missing_ok=True)
        except OSError:
            pass  # it has begun; or the disk is full, and no restore may fail of that

    def running(self) -> list[Seen]:
        """What of its process group lives."""
        try:
            told = json.loads(self._file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return []
        if "pid" not in told:
            return []
        leader = pidfile.seen(told["pid"])
        if leader is not None and leader.start != told["start"]:
            return []  # the pid is another's by now, and so the group is gone
        return pidfile.members(told["pid"])

    def end(self) -> bool:
        """End its group: whether there was any. Raises OSError where it does not end."""
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
        """Whether it may be run: it never was, or nothing of it lives and it is forgotten now."""
        if not self._file.exists():
            return True
        if self.running():
            return False
        self.forget()  # the file that was looked at: nobody makes another while it is there
        return True

    def forget(self) -> None:
        """Remove the file of one that has begun; a bar stays: what it keeps out may still be on its way."""
        try:
            if "pid" in json.loads(self._file.read_text()):
                self._file.unlink(missing_ok=True)
        except (FileNotFoundError, NotADirectoryError):
            pass


def folder() -> Path:
    """Beside the journal: `$XDG_STATE_HOME/brownout/commands`."""
    return default_folder().with_name("commands")
