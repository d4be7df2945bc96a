"""A command's standard output and standard error, written so that a broken reader cannot affect the command.

A reader may have exited (`| head`) or be stopped (Ctrl-S, Ctrl-Z, a pager), a terminal may be closed, a disk full, or an encoding
may lack characters of a message. No restore may end or wait because of that, and no exit code may change. So a separate thread
writes the lines in order, and `flush` waits for it when a command has nothing else left to do.
"""

import contextlib
import os
import queue
import sys
import threading
from typing import TextIO

from contract import printable

MOST = 10_000  # lines that wait for their reader; further lines are dropped


class _Writer:
    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[str, TextIO]] = queue.Queue(MOST)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def write(self, line: str, to: TextIO | None) -> None:
        if to is None:  # closed before this process started
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="output", daemon=True)
                self._thread.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((line, to))

    def flush(self) -> None:
        self._waiting.join()

    def _write_all(self) -> None:
        while True:
            line, to = self._waiting.get()
            try:
                encoding = to.encoding or "utf-8"
                print(line.encode(encoding, "backslashreplace").decode(encoding), file=to, flush=True)
            except (OSError, ValueError):  # ValueError: it was closed
                _discard(to)
            finally:
                self._waiting.task_done()


_WRITER = _Writer()


def out(text: str) -> None:
    """One line, whatever foreign words are in it."""
    _WRITER.write(printable.line(text), sys.stdout)


def err(text: str) -> None:
    _WRITER.write(printable.line(text), sys.stderr)


def out_lines(text: str) -> None:
    """A text of several lines, each of which is one."""
    _WRITER.write(printable.lines(text), sys.stdout)


def err_lines(text: str) -> None:
    _WRITER.write(printable.lines(text), sys.stderr)


def message(line: str) -> None:
    """A message to another process, as it is."""
    _WRITER.write(line, sys.stdout)


def flush() -> None:
    """Returns when all lines are written, or their reader has gone."""
    _WRITER.flush()


def _discard(to: TextIO) -> None:
    """Point the stream at /dev/null: the interpreter would retry the unwritten lines at its end and change the exit code."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, to.fileno())
        os.close(nowhere)
