"""A process for tests that chaos finds by its pidfile."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from chaos.host import pidfile
from tests.chaos.stand import until

# Writes its pid, and its child's beside it, as an engine with a worker process does.
SERVER = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
fresh = sys.argv[1] + ".fresh"
open(sys.argv[1] + ".child", "w").write(str(child.pid))
open(fresh, "w").write(f"{os.getpid()}\\n")
os.rename(fresh, sys.argv[1])
time.sleep(600)
"""


class Server:
    """A process group with a pidfile; every process started from it ends with the test."""

    def __init__(self, folder: Path) -> None:
        self.pidfile = folder / "server.pid"
        self.start = [sys.executable, "-I", "-S", "-c", SERVER, str(self.pidfile)]
        self._children: list[subprocess.Popen] = []
        self.pids: set[int] = set()

    def begin(self) -> int:
        self._children.append(subprocess.Popen(self.start, start_new_session=True))
        until(lambda: pidfile.named(str(self.pidfile)), "the pidfile is written")
        return self.pid()

    def pid(self) -> int:
        found = int(self.pidfile.read_text())
        self.pids.add(found)
        return found

    def child(self) -> int:
        return int(Path(f"{self.pidfile}.child").read_text())

    def end(self) -> None:
        for pid in self.pids:
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for child in self._children:
            child.wait()
