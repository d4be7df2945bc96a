"""The controller's side of the guardian: starts it, arms it before each fault, notices at once when it dies."""

import contextlib
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from chaos import output
from chaos.errors import CannotInject
from chaos.state_folder import default_folder
from chaos.stop import Stop
from chaos.undo.guardian import TRY_S, closing, mark, opening, under_test
from chaos.undo.journal import Undo
from contract import own_file
from contract.leash import Leashed
from contract.messages import Armed, BadMessage, Listening, Log, NotArmed
from contract.refusal import EXIT_INTERNAL_ERROR, InternalError, Refusal, how_ended
from contract.topology import Topology

ARMED_WITHIN_S = 10.0
LOG_MOST = 256 * 1024  # bytes; then the log is rotated, replacing the previous one
WORDS_MOST = 500


class GuardianLink:
    """Without an armed guardian no fault is injected. When it dies, `stop` is set and open faults are restored.

    The constructor starts it, and it loads meanwhile; it can be armed after `ready`.
    """

    def __init__(self, stop: Stop, stack: Topology) -> None:
        self._stop = stop
        # Its own session: a signal to the controller's process group must not kill the guardian.
        # Its own log: it may run long after the controller has exited, and a reader that waits for the end of the
        # controller's output must not wait for it. While the controller lives, its log also comes over the pipe.
        self._log = GuardianLog(default_folder().with_name("guardian.log"))
        self._guardian = Leashed([sys.executable, "-m", "chaos", "guardian"], self._log.opened())
        self._log.close()
        self._guardian.send(under_test(stack))
        self._answers: queue.Queue[Armed | NotArmed | None] = queue.Queue()  # None: it has exited
        self._lock = threading.Lock()  # one request at a time: the answers have no number
        self._leaving = False

    def ready(self) -> None:
        """Returns once it can be armed. Raises Refusal or InternalError."""
        try:
            first = self._guardian.message()
        except BadMessage as e:
            raise Refusal(f"the guardian did not start: {e}") from None
        if not isinstance(first, Listening):
            if first is None and (code := self._guardian.wait()) == EXIT_INTERNAL_ERROR:
                raise InternalError(f"{how_ended('the guardian', code)}: {self._log.last_line()}")
            raise Refusal(f"the guardian did not start: {self._log.last_line()}")
        threading.Thread(target=self._watch, name="guardian", daemon=True).start()

    def arm(self, undo: Undo) -> None:
        """Returns when the guardian holds the undo record. Raises CannotInject."""
        with self._lock:
            self._guardian.send(opening(undo))
            until = time.monotonic() + ARMED_WITHIN_S
            while True:
                try:
                    answer = self._answers.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    raise CannotInject(f"the guardian did not answer within {ARMED_WITHIN_S:.0f} s") from None
                # Any other is a late answer, to a record that was given up.
                if answer is None or answer.of == mark(undo):
                    break
        if not isinstance(answer, Armed):
            raise CannotInject(f"the guardian is not armed: {answer.why if answer else 'it has exited'}")

    def disarm(self, undo: Undo) -> None:
        """Call after the verified restore."""
        with self._lock:
            self._guardian.send(closing(undo))

    def leave(self) -> None:
        """Detach: it ends at once where nothing is open, and otherwise keeps trying."""
        self._leaving = True
        self._guardian.let_go()

    @property
    def keeps_trying(self) -> str:
        """What the guardian does where a fault is left open, for the operator."""
        return (
            f"the guardian (process {self._guardian.pid}) keeps trying for {TRY_S / 3600:.0f} h; "
            f"its log: {self._log.path}"
        )

    def _watch(self) -> None:
        while self._receive():
            pass
        code = self._guardian.wait()
        self._answers.put(None)
        if not self._leaving:
            output.err(f"the guardian has died: {how_ended('it', code)}; its log: {self._log.path}")
            self._stop.set("error: the guardian has died")

    def _receive(self) -> bool:
        """Whether there was a message. Keeps reading after an invalid one: a guardian must not block on its output."""
        try:
            match message := self._guardian.message():
                case None:
                    return False
                case Log():
                    output.err(f"guardian: {message.line}")
                case Armed() | NotArmed():
                    self._answers.put(message)
                case _:
                    raise BadMessage(f"{message.kind!r} is not a message from a guardian")
        except BadMessage as e:
            output.err(f"guardian: {e}")
            self._stop.set(f"error: from the guardian: {e}")
        return True


class GuardianLog:
    """The log file of guardians, one for all runs of a user. Where it cannot be written they run without it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = 0  # bytes from earlier guardians
        self._file = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > LOG_MOST:
                path.replace(path.with_name(f"{path.name}.1"))
            self._file = open(path, "ab", opener=own_file.opened)  # noqa: SIM115  a child's
            self._before = path.stat().st_size

    def opened(self) -> IO[bytes] | int:
        """To be given to a child as its standard error."""
        return self._file or subprocess.DEVNULL

    def close(self) -> None:
        """Call once the child has it."""
        if self._file is not None:
            self._file.close()

    def last_line(self) -> str:
        """The last line since it was opened."""
        try:
            with open(self.path, "rb", opener=own_file.opened) as f:
                f.seek(self._before)
                lines = f.read(LOG_MOST).decode(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1][:WORDS_MOST] if lines else f"it ended without output; its log: {self.path}"
