"""A command that may outlive the process that started it: its process group is on disk before it runs, for a restorer.

Each command has its own file, and the process that creates it first wins: if the launcher does, the command runs; if a
restorer does, the command never runs.
"""

import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chaos import state_folder
from chaos.host import pidfile
from chaos.host.pidfile import Seen
from chaos.state_folder import default_folder
from contract import own_file

_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
TERM_S = 2.0  # between SIGTERM and SIGKILL
KILL_S = 3.0
POLL_S = 0.02
MOST_BYTES = 1024


class Launched:
    """One command that runs at most once."""

    def __init__(self, file: str | Path) -> None:
        self._file = Path(file)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs it; start it in its own session."""
        state_folder.make(self._file.parent)
        return [sys.executable, "-I", "-S", _LAUNCHER, str(self._file), *argv]

    def bar(self) -> None:
        """Prevent its start from now on; a command that already runs is not touched."""
        fresh = self._file.with_name(f"{self._file.name}.bar-{secrets.token_hex(8)}")
        try:
            state_folder.make(self._file.parent)
            try:
                with open(own_file.opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as f:
                    f.write("{}")
                os.link(fresh, self._file)
            finally:
                fresh.unlink(missing_ok=True)
        except OSError:
            pass  # it has started; or the disk is full, which must not fail a restore

    def running(self) -> list[Seen]:
        """The living processes of its group."""
        try:
            recorded = self._read()
        except (FileNotFoundError, NotADirectoryError):
            return []
        if recorded is None:
            return []
        pid, start = recorded
        leader = pidfile.seen(pid)
        if leader is not None and leader.start != start:
            return []  # the pid has been reused, so the group is gone
        return pidfile.members(pid)

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
            if self._read() is not None:
                self._file.unlink(missing_ok=True)
        except (FileNotFoundError, NotADirectoryError):
            pass

    def _read(self) -> tuple[int, int] | None:
        """The pid and start time of the command; None: the file is a bar. Raises OSError where it is neither."""
        try:
            found = json.loads(own_file.read_own(self._file, MOST_BYTES))
            return (int(found["pid"]), int(found["start"])) if "pid" in found else None
        except (ValueError, TypeError, KeyError, RecursionError) as e:
            raise OSError(f"{self._file}: it names no process: {type(e).__name__}; remove it") from None


def folder() -> Path:
    """Next to the journal: `$XDG_STATE_HOME/brownout/commands`."""
    return default_folder().with_name("commands")
