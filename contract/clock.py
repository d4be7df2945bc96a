"""One anchored clock per process: instants that files share, lengths that a stepped wall clock does not change.

The wall clock is read once; after that only the monotonic clock is read. The processes of one run on one machine share
that reading (`share`, `shared`). Otherwise they would differ by the steps of the wall clock between their starts.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path


class Clock:
    """Returns unix seconds, UTC, that never step."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        # Between two readings of the monotonic clock, so that a pause here shifts the anchor by half of it at most.
        before = monotonic()
        at = wall()
        after = monotonic()
        self.anchor_s = at - (before + after) / 2  # added to each reading of the monotonic clock

    def now(self) -> float:
        """The instant, in unix seconds UTC."""
        return self._monotonic() + self.anchor_s

    def at(self, monotonic_s: float) -> float:
        """The instant of a reading of the same monotonic clock."""
        return monotonic_s + self.anchor_s


SHARED = "BROWNOUT_CLOCK"


def share(clock: Clock) -> None:
    """Pass this clock's anchor to the processes that are started from now on."""
    os.environ[SHARED] = f"{boot()} {clock.anchor_s!r}"


def shared() -> Clock:
    """The clock of the parent process, if it shared one and runs on this machine; else a new one."""
    clock = Clock()
    boot_id, _, anchor = os.environ.get(SHARED, "").partition(" ")
    if boot_id and boot_id == boot():
        clock.anchor_s = float(anchor)
    return clock


def boot() -> str | None:
    """The boot id: unique for each boot of each machine. Within one boot all processes read the same monotonic clock.

    None if the system has no boot id.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
