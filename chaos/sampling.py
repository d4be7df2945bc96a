"""Runs the samplers of the chaos process, one thread per source."""

import threading
from collections.abc import Callable
from typing import Any

from chaos.stop import Stop
from contract import samplers
from contract.clock import Clock
from contract.sampler import Given, Process, Rows, Sampler, Source, sampled
from contract.topology import Topology

JOIN_S = 2.0


class Sampling:
    """`keep` gets a sampler's name and rows; `latest`: the last row by sampler and source."""

    def __init__(
        self, topology: Topology, clock: Clock, keep: Callable[[str, Rows], None], stop: Stop
    ) -> None:
        """A sampler that raises stops the run. Raises Refusal where one of them cannot run."""
        self._clock, self._keep, self._stop = clock, keep, stop
        self._over = Stop()
        self.latest: dict[tuple[str, str], Any] = {}
        given = Given(topology, clock)
        self._threads = [
            threading.Thread(
                target=self._follow, args=(name, sampler, source), name=f"{name} {source.name}", daemon=True
            )
            for name, sampler in samplers.every(Process.CHAOS).items()
            for source in sampler.sources(given)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set("stopped")
        for thread in self._threads:
            thread.join(JOIN_S)

    def _follow(self, name: str, sampler: Sampler, source: Source) -> None:
        try:
            for rows in sampled(source, sampler.every_s, self._clock.now, self._over.wait):
                self._take(name, source, rows)
            self._take(name, source, source.last())
        except Exception as e:  # a missing sampler would look like a second without events
            self._stop.set(f"error: sampler {name}: {type(e).__name__}: {e}")

    def _take(self, name: str, source: Source, rows: Rows) -> None:
        if rows:
            self.latest[name, source.name] = rows[-1]
            self._keep(name, rows)
