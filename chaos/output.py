"""What a command says on its standard output and its standard error, where nobody may listen any more.

A reader may have left (`| head`) or be stopped (Ctrl-S, Ctrl-Z, a pager), a terminal may be closed, a disk full, an encoding without
the letters of a foreign message. No restore may end or wait because of that, and no exit code may change: so a thread of its own
writes what is said, in its order, and `flush` waits for it when a command has nothing else left to do.
"""

import contextlib
import os
import queue
import sys
import threading
from typing import TextIO

MOST = 10_000  # lines that wait for their reader; what is said beyond that is dropped


class _Voice:
    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[str, TextIO]] = queue.Queue(MOST)
        self._speaking: threading.Thread | None = None
        self._lock = threading.Lock()

    def say(self, line: str, to: TextIO | None) -> None:
        if to is None:  # closed before we were started
            return
        with self._lock:
            if self._speaking is None:
                self._speaking = threading.Thread(target=self._speak, name="output", daemon=True)
                self._speaking.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((line, to))

    def flush(self) -> None:
        self._waiting.join()

    def _speak(self) -> None:
        while True:
            line, to = self._waiting.get()
            try:
                encoding = to.encoding or "utf-8"
                print(line.encode(encoding, "backslashreplace").decode(encoding), file=to, flush=True)
            except (OSError, ValueError):  # ValueError: it was closed
                _let_go(to)
            finally:
                self._waiting.task_done()


_VOICE = _Voice()


def out(line: str) -> None:
    _VOICE.say(line, sys.stdout)


def err(line: str) -> None:
    _VOICE.say(line, sys.stderr)


def flush() -> None:
    """Returns when all of it is written, or nobody listens."""
    _VOICE.flush()


def _let_go(to: TextIO) -> None:
    """What is still unwritten would be tried again at the interpreter's end, and that would be the exit code."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, to.fileno())
        os.close(nowhere)
