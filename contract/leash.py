"""A leashed child process of another wing: it sends messages, one per line, and exits at end of file on its standard input.

When this process ends in any way, the kernel closes the pipe, and the child reads the end of file.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO, Any

from contract import messages
from contract.messages import Message


class Leashed:
    """A child in a session of its own: Ctrl-C on the terminal reaches only the parent.

    `log`: where its standard error goes; by default to the parent's. A child that may outlive its parent needs one:
    otherwise a reader of the parent's output would also wait for the child to end.
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
        """The only line of an embedded stack; None: it ended without one."""
        line = self._from.readline()
        return json.loads(line) if line else None

    def message(self) -> Message | None:
        """Its next message; None: it has ended. Raises BadMessage."""
        line = self._from.readline()
        return messages.read(line) if line.endswith("\n") else None

    def messages(self) -> Iterator[Message]:
        """Its messages from now on, until it ends; a line without its end is dropped. Raises BadMessage."""
        while (message := self.message()) is not None:
            yield message

    def drain(self) -> None:
        """Read and drop the rest of its output until it ends, so that it does not block."""
        for _ in self._from:
            pass

    def send(self, message: Message) -> None:
        """Send one message; does nothing if the child has ended."""
        try:
            self._to.write(messages.write(message) + "\n")
            self._to.flush()
        except (OSError, ValueError):
            pass

    def let_go(self) -> None:
        """Close its standard input; safe to call twice."""
        try:
            self._to.close()
        except OSError:
            pass  # unflushed data is no longer needed

    def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return self._child.wait()
