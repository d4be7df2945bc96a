"""Once a second, the gauges of each engine: how full its cache is, how many requests run and wait.

A gauge that is not on the page, or does not come in time, is None: without a reported queue the queue is unknown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from contract.clock import Clock
from contract.metrics_page import NotServed, Page, engines, read, samples
from contract.sampler import Given, Process, Sampler, Source

EVERY_S = 1.0
PATIENCE_S = 0.8
LOOK_AGAIN_S = 30.0
"""Seconds until the next request after a page without gauges, or one that the engine does not serve."""

KV_CACHE = ("vllm:kv_cache_usage_perc", "llamacpp:kv_cache_usage_ratio")  # both are shares of 1
RUNNING = ("vllm:num_requests_running", "llamacpp:requests_processing")
WAITING = ("vllm:num_requests_waiting", "llamacpp:requests_deferred")


@dataclass(slots=True)
class Gauges:
    """One row: an engine at the instant when its page was requested. None: not reported."""

    at: float
    tier: str
    kv_cache: float | None = None  # share of its fullest cache
    running: float | None = None
    waiting: float | None = None


def gauges(text: str, at: float, tier: str) -> Gauges:
    """From a page in Prometheus' text format. Requests are summed over the models or ranks of one server."""
    found: dict[str, list[float]] = {}
    for name, _, value in samples(text, (*KV_CACHE, *RUNNING, *WAITING)):
        if 0 <= value < math.inf:  # NaN counts as not reported
            found.setdefault(name, []).append(value)

    def of(names: Sequence[str]) -> list[float]:
        return next((found[name] for name in names if name in found), [])

    running, waiting = of(RUNNING), of(WAITING)
    return Gauges(
        at,
        tier,
        max(of(KV_CACHE), default=None),
        sum(running) if running else None,
        sum(waiting) if waiting else None,
    )


class _Engine:
    """One page per sample; an engine without one gets a request only every LOOK_AGAIN_S."""

    def __init__(self, page: Page, clock: Clock) -> None:
        self._page, self._clock = page, clock
        self._next_at = -math.inf
        self._has_served = False  # it served gauges once, so it may serve them again at any time

    def rows(self) -> list[Gauges]:
        at = self._clock.now()
        if at < self._next_at:
            return []
        row, has_none = Gauges(at, self._page.name), False
        try:
            row = gauges(read(self._page, PATIENCE_S), at, self._page.name)
            has_none = (row.kv_cache, row.running, row.waiting) == (None, None, None)
            self._has_served = self._has_served or not has_none
        except NotServed as e:
            has_none = e.for_good
        except (OSError, ValueError):
            pass  # this second is unknown; the engine may be away, and come back
        if has_none and not self._has_served:
            self._next_at = at + LOOK_AGAIN_S
        return [row]


def _unknown(tier: str, due: float) -> list[Gauges]:
    return [Gauges(due, tier)]


def _sources(given: Given) -> list[Source]:
    return [
        Source(page.name, _Engine(page, given.clock).rows, partial(_unknown, page.name))
        for page in engines(given.topology)
    ]


SAMPLER = Sampler(Gauges, every_s=EVERY_S, process=Process.RUN, sources=_sources)
