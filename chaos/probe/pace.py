"""The interval between the probe's requests. Pure: no clock, no sockets.

The probe must not become load: away from moves it takes at most a tenth of the serving tier's capacity.
"""

from collections import deque
from statistics import median

FAST_S = 0.2
SLOW_S = 2.0
BEFORE_MOVE_S = 5.0
SETTLED_ANSWERS = 10  # consecutive answers of one rank: the tiers of a rank take turns behind a balancer
SHARE = 0.1  # of the serving tier's time that slow requests may take


class Pace:
    """Gets planned moves, verified moves and answers; returns the current interval."""

    def __init__(self, planned_at: list[float]) -> None:
        self._planned_at = sorted(planned_at)
        self._open_moves = 0  # commanded, not yet verified
        self._unsettled = False
        self._rank: int | None = None
        self._in_a_row = 0
        self._service_s: deque[float] = deque(maxlen=5)

    def plan(self, moves_at: list[float]) -> None:
        """The times of the moves to come."""
        self._planned_at = sorted(moves_at)

    def move_began(self) -> None:
        self._open_moves += 1
        self._unsettled = True

    def move_ended(self) -> None:
        """The move was verified, or given up."""
        self._open_moves = max(0, self._open_moves - 1)
        self._in_a_row = 0

    def answered(self, rank: int | None, service_s: float | None) -> None:
        """A request ended; `rank` is its tier's (see `contract.ranks`), None where the answer was not good."""
        if rank is None or rank != self._rank:
            self._in_a_row = 0
            self._service_s.clear()
        self._rank = rank
        if rank is not None:
            self._in_a_row += 1
        if service_s is not None:
            self._service_s.append(service_s)
        if self._in_a_row >= SETTLED_ANSWERS and not self._open_moves:
            self._unsettled = False

    def interval_s(self, now: float) -> float:
        """Seconds until the next request, by what is known now."""
        near = any(at - BEFORE_MOVE_S <= now <= at + FAST_S for at in self._planned_at)
        if near or self._unsettled:
            return FAST_S
        service_s = median(self._service_s) if self._service_s else 0.0
        return max(SLOW_S, service_s / SHARE)
