"""One anchored clock per process: instants that files share, lengths that a stepped wall clock cannot bend.

The wall clock is read once; from then on only the monotonic one is. The processes of one run on one machine share that
one reading (`share`, `shared`): else they would differ by what the wall clock was stepped between their starts.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path


class Clock:
    """Tells unix seconds, UTC, that never step."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        # Between two readings of the monotonic clock, so that a pause here cannot shift the anchor unseen.
        before = monotonic()
        at = wall()
        after = monotonic()
        self.anchor_s = at - (before + after) / 2  # what is added to a reading of the monotonic clock

    def now(self) -> float:
        """The instant, in unix seconds UTC."""
        return self._monotonic() + self.anchor_s

    def at(self, monotonic_s: float) -> float:
        """The instant of a reading of the same monotonic clock."""
        return monotonic_s + self.anchor_s


SHARED = "BROWNOUT_CLOCK"


def share(clock: Clock) -> None:
    """Hand this clock's anchor down to the processes that are started from now on."""
    os.environ[SHARED] = f"{boot()} {clock.anchor_s!r}"


def shared() -> Clock:
    """The clock of the process that started this one, where it shared it and this is the same machine; else a new one."""
    clock = Clock()
    told, _, anchor = os.environ.get(SHARED, "").partition(" ")
    if told and told == boot():
        clock.anchor_s = float(anchor)
    return clock


def boot() -> str | None:
    """What tells one boot of one machine from all others: within it all processes read one monotonic clock.

    None where the system does not say.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
