"""Processes known by a pidfile, distinguished from later processes with the same pid.

A process is identified by its pid and its start time (field 22 of /proc/PID/stat). Signals go to its process group where
it leads one, and never to ours.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import own_file

# A process starts before its pidfile is written; tolerance for the kernel's ticks (1/100 s) and for clock changes.
SLACK_S = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One process, from /proc."""

    pid: int
    start: int  # clock ticks since the boot
    state: str  # R, S, D, T, Z, …
    group: int
    session: int

    @property
    def gone(self) -> bool:
        return self.state in "ZX"  # ended, but not yet reaped by its parent

    @property
    def began_at(self) -> float:
        """Unix seconds; wrong if the clock was changed since."""
        booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return booted_at + self.start / os.sysconf("SC_CLK_TCK")

    def same_as(self, state: dict[str, Any]) -> bool:
        return (self.pid, self.start) == (state["pid"], state["start"])


@dataclass(frozen=True, slots=True)
class Named:
    """The content of a pidfile, and when it was written."""

    pid: int
    written: int  # nanoseconds


def seen(pid: int) -> Seen | None:
    """The process, also one that has ended but is not yet reaped; None: there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name is in brackets and may contain brackets.
    fields = text.rpartition(")")[2].split()
    return Seen(pid, int(fields[19]), fields[0], int(fields[2]), int(fields[3]))


def living(pid: int, start: int) -> Seen | None:
    """The process with this pid and start time, while it lives."""
    found = seen(pid)
    return found if found is not None and found.start == start and not found.gone else None


def named(pidfile: str) -> Named | None:
    """The pid in the file; None: no such file, or no pid in it (yet). Raises OSError where it is a link or no regular file, and where
    another user could have written it: the process that it names would be theirs to choose."""
    try:
        with open(own_file.opened(pidfile, os.O_RDONLY), errors="replace") as f:
            own_file.must_be_own(pidfile, os.fstat(f.fileno()))
            text, written = f.read(64).split(), os.fstat(f.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    return Named(int(text[0]), written) if text and text[0].isdecimal() and int(text[0]) > 1 else None


def send_signal(process: Seen, number: int) -> None:
    """Send the signal to its group, or to it alone where it leads none or leads ours; does nothing where it has ended."""
    found = living(process.pid, process.start)
    if found is None:
        return
    try:
        if found.group == found.pid and found.group != os.getpgrp():
            os.killpg(found.group, number)
        else:
            os.kill(found.pid, number)
    except ProcessLookupError:
        pass


def members(group: int) -> list[Seen]:
    """The living processes of a group that is also a session."""
    found = (seen(int(name)) for name in os.listdir("/proc") if name.isdecimal())
    return [p for p in found if p is not None and p.group == p.session == group and not p.gone]
