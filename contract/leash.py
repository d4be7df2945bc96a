"""A process of another wing, started and held on a leash: it sends messages, a line each, and leaves at its end of file.

When this process is gone, however it went, the kernel closes the pipe, and that is the end of file.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO, Any

from contract import messages
from contract.messages import Message


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
        """The first line of an embedded stack, which sends no other; None: it ended without one."""
        line = self._from.readline()
        return json.loads(line) if line else None

    def message(self) -> Message | None:
        """Its next message; None: it has ended. Raises BadMessage."""
        line = self._from.readline()
        return messages.read(line) if line.endswith("\n") else None

    def messages(self) -> Iterator[Message]:
        """Its messages from now on, until it ends: a line that its end has cut off is none. Raises BadMessage."""
        while (message := self.message()) is not None:
            yield message

    def drain(self) -> None:
        """Read all that is left until it ends, and drop it: it must not wait for a reader."""
        for _ in self._from:
            pass

    def send(self, message: Message) -> None:
        """Send one message; a child that has ended does not get it."""
        try:
            self._to.write(messages.write(message) + "\n")
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
