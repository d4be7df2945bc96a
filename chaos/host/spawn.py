"""Runs one external command: a list of arguments, no shell, no terminal, always with a timeout."""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from contract.foreign import without

CUT = 200  # characters of a command's output in a message


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    argv: tuple[str, ...]
    code: int  # negative: the signal that ended it
    out: str
    err: str  # without our secrets, which are in its environment

    def __str__(self) -> str:
        how = f"exit {self.code}" if self.code >= 0 else f"ended by {signal.Signals(-self.code).name}"
        lines = self.err.strip().splitlines()
        return f"{command_text(self.argv)}: {how}" + (f": {lines[-1][:CUT]}" if lines else "")


def run(argv: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None) -> Ended:
    """Run it to its end. Raises OSError where it cannot start, and TimeoutError (an OSError) where it was killed.

    Waits only for the command itself: its child processes may keep its output open.
    """
    with _memory("out") as out, _memory("err") as err:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, start_new_session=True
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{command_text(argv)}: not finished within {timeout_s:g} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return Ended(tuple(argv), code, _text(out), without((), _text(err)))


def must(argv: Sequence[str], timeout_s: float, env: Mapping[str, str] | None = None) -> str:
    """Its standard output. Also raises OSError where its exit status is not 0."""
    ended = run(argv, timeout_s, env)
    if ended.code:
        raise OSError(str(ended))
    return ended.out


def command_text(argv: Sequence[str]) -> str:
    """The command line for a message."""
    text = shlex.join(argv)
    return text if len(text) <= CUT else text[: CUT - 1] + "…"


def _memory(name: str) -> IO[bytes]:
    # A file in memory where possible: a full disk must not fail a restore.
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(name), "w+b")
    return tempfile.TemporaryFile()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
