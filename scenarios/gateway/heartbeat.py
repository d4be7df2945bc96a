"""A heartbeat on the gevent hub: how long an event at a random instant waits for the hub."""

import time

import gevent

from scenarios.gateway.lag import lag_p99_s

_BEAT_S = (
    0.005  # a stall counts from when the beat was due, so the interval must be much shorter than a stall
)


class Heartbeat:
    """`start` after any fork."""

    def __init__(self) -> None:
        self._overshoots_s: list[float] = []
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill()

    def lag_s(self, period_s: float) -> float:
        """See `contract.sampler.Load.lag_s`."""
        overshoots_s, self._overshoots_s = self._overshoots_s, []
        return lag_p99_s(overshoots_s, period_s)

    def _beat(self) -> None:
        while True:
            before = time.monotonic()
            gevent.sleep(_BEAT_S)
            self._overshoots_s.append(time.monotonic() - before - _BEAT_S)
