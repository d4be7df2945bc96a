"""The stack under test: its topology, and its process if the topology describes an embedded stack."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from contract import topology as topologies
from contract.leash import Leashed
from contract.refusal import EXIT_BAD_INPUT, InternalError, Refusal, how_ended
from scenarios.gateway import stack_key


def argv(path: Path) -> list[str]:
    """The command that runs an embedded stack until its standard input is closed."""
    return [sys.executable, "-m", "embedded", "stack", "--leash", "--topology", str(path)]


class Stack:
    """`path` and `topology` change when an embedded stack is ready: it writes its own topology, with urls."""

    def __init__(self, path: Path, launch: Callable[[Sequence[str]], Leashed] = Leashed) -> None:
        """Raises Refusal."""
        self.path, self.topology = path, topologies.read(path)
        self._launch = launch
        self._process: Leashed | None = None

    def start(self) -> None:
        """Start an embedded stack without waiting. Does nothing for other stacks."""
        if self.topology.embedded is not None:
            stack_key.give(self.topology)
            print("starting the embedded stack", flush=True)
            self._process = self._launch(argv(self.path))

    def wait_ready(self) -> bool:
        """Whether there is a process to watch. Raises Refusal or InternalError if it did not start."""
        if self._process is None:
            return False
        ready = self._process.first()
        if ready is None:
            code = self._process.wait()
            if code == EXIT_BAD_INPUT:
                raise Refusal("the embedded stack did not start; see the line above")
            raise InternalError(
                f"the embedded stack did not start; see the line above; {how_ended('it', code)}"
            )
        self.path = Path(ready["topology"])
        self.topology = topologies.read(self.path)
        return True

    def watch(self, ended: Callable[[], None]) -> None:
        """Call `ended` if the process ends without `take_down`."""
        process = self._process
        if process is not None:
            process.wait()
            if self._process is process:
                ended()

    def take_down(self) -> None:
        """End an embedded stack and wait for its end; safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.let_go()
            process.wait()
