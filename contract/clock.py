"""One anchored clock per process: instants that files share, lengths that a stepped wall clock cannot bend.

The wall clock is read once; from then on only the monotonic one is. Two processes of one machine agree to within
what the wall clock was stepped between their starts.
"""

import time
from collections.abc import Callable


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
        self._offset_s = at - (before + after) / 2

    def now(self) -> float:
        """The instant, in unix seconds UTC."""
        return self._monotonic() + self._offset_s

    def at(self, monotonic_s: float) -> float:
        """The instant of a reading of the same monotonic clock."""
        return monotonic_s + self._offset_s
