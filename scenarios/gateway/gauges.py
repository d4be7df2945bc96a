"""Once a second, what the engine that a ramp asks says of itself: how full its cache is, how many asks run and wait.

What it does not tell, or not in time, is None: an engine that tells nothing has no queue that anybody knows of.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import gevent

from contract.clock import Clock
from scenarios.gateway.counters import Source, page, samples

EVERY_S = 1.0
PATIENCE_S = 0.8
KV_CACHE = ("vllm:kv_cache_usage_perc", "llamacpp:kv_cache_usage_ratio")  # both are shares of 1
RUNNING = ("vllm:num_requests_running", "llamacpp:requests_processing")
WAITING = ("vllm:num_requests_waiting", "llamacpp:requests_deferred")


@dataclass(frozen=True, slots=True)
class Gauges:
    """At one instant. None: it did not tell."""

    at: float
    kv_cache: float | None
    running: float | None
    waiting: float | None


def read(text: str, at: float) -> Gauges:
    """From a page in Prometheus' text format; of several models or ranks of one server asks are summed, the fullest cache is told."""
    found: dict[str, list[float]] = {}
    for name, _, value in samples(text, (*KV_CACHE, *RUNNING, *WAITING)):
        found.setdefault(name, []).append(value)

    def of(names: Sequence[str]) -> list[float]:
        return next((found[name] for name in names if name in found), [])

    running, waiting = of(RUNNING), of(WAITING)
    return Gauges(
        at,
        max(of(KV_CACHE), default=None),
        sum(running) if running else None,
        sum(waiting) if waiting else None,
    )


class Watch:
    """Reads one page from `start` to `stop`; `seen` holds what it told. None: nobody is watched."""

    def __init__(self, source: Source | None, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self.seen: list[Gauges] = []
        self._reading: gevent.Greenlet | None = None

    def start(self) -> None:
        if self._source is not None:
            self._reading = gevent.spawn(self._read, self._source)

    def stop(self) -> None:
        if self._reading is not None:
            self._reading.kill()

    def between(self, since: float, until: float) -> list[Gauges]:
        return [g for g in self.seen if since <= g.at <= until]

    def _read(self, source: Source) -> None:
        while True:
            at = self._clock.now()
            try:
                self.seen.append(read(page(source, PATIENCE_S), at))
            except (OSError, ValueError):
                pass  # this second is not known
            gevent.sleep(max(0.0, at + EVERY_S - self._clock.now()))
