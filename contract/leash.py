"""A process of another wing, started and held on a leash: it speaks JSON lines, it leaves at its end of file.

When this process is gone, however it went, the kernel closes the pipe, and that is the end of file.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO, Any


class Leashed:
    """A child in a session of its own: Ctrl-C on the terminal reaches its parent alone.

    `log`: where its standard error goes; by default to the parent's. A child that may outlive its parent needs one: who
    waits for the end of the parent's output would wait for the child's end, too.
    """

    def __init__(self, argv: Sequence[str], log: IO[bytes] | int | None = None) -> None:
        self._child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._to, self._from = self._child.stdin, self._child.stdout
        self.pid = self._child.pid

    def first(self) -> dict[str, Any] | None:
        """Its first line; None: it ended without one."""
        line = self._from.readline()
        return json.loads(line) if line else None

    def lines(self) -> Iterator[dict[str, Any]]:
        """What it says from now on, until it ends."""
        for line in self._from:
            yield json.loads(line)

    def tell(self, line: str) -> None:
        """Say one line; a child that has ended does not hear it."""
        try:
            self._to.write(line + "\n")
            self._to.flush()
        except (OSError, ValueError):
            pass

    def let_go(self) -> None:
        """Its end of file; safe to call twice."""
        try:
            self._to.close()
        except OSError:
            pass  # what was not yet flushed does not matter any more

    def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return self._child.wait()
