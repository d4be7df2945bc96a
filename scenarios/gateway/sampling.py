"""Runs the samplers of a load generator, a greenlet for each of their sources."""

from collections.abc import Callable, Mapping

import gevent
import psutil

from contract.sampler import Given, Load, Rows, Sampler, Source, sampled
from scenarios.gateway.heartbeat import Heartbeat
from scenarios.gateway.recorder import Sink
from scenarios.gateway.user_context import Stage


class Sampling:
    """`start` after any fork; `stop` is safe to call twice."""

    def __init__(
        self,
        of: Mapping[str, Sampler],
        stage: Stage,
        users: Callable[[], int] | None,
        sink: Callable[[str], Sink],
        on_failure: Callable[[str], None],
    ) -> None:
        """`users`: how many there are now; None: this process makes no requests. `sink`: by a sampler's name, where its rows go.

        `on_failure`: called once for a sampler whose rows cannot be made or written; it makes no more.
        """
        self._of, self._stage, self._users, self._on_failure = of, stage, users, on_failure
        self._sinks = {name: sink(name) for name in of}
        self._failed: set[str] = set()
        self._beat = Heartbeat()
        self._greenlets: dict[gevent.Greenlet, tuple[str, Source]] = {}

    def start(self) -> None:
        """Raises Refusal where a sampler cannot run; then none does."""
        load = None
        if self._users is not None:
            tally, own = self._stage.recorder.tally, psutil.Process()
            load = Load(self._users, tally, self._beat.lag_s, own.cpu_percent, self._stage.worker)
        given = Given(self._stage.topology, self._stage.clock, load)
        sources = [
            (name, sampler, source) for name, sampler in self._of.items() for source in sampler.sources(given)
        ]
        if load is not None:
            self._beat.start()
        for name, sampler, source in sources:
            self._greenlets[gevent.spawn(self._follow, name, sampler, source)] = (name, source)

    def stop(self) -> None:
        greenlets, self._greenlets = self._greenlets, {}
        gevent.killall([g for g in greenlets if g is not gevent.getcurrent()])
        self._beat.stop()
        for name, source in greenlets.values():
            self._keep(name, source.last)
        for name, sink in self._sinks.items():
            try:
                sink.close()
            except Exception as e:
                self._fail(name, e)

    def _follow(self, name: str, sampler: Sampler, source: Source) -> None:
        samples = sampled(source, sampler.every_s, self._stage.clock.now, gevent.sleep)
        while self._keep(name, lambda: next(samples)):
            pass

    def _keep(self, name: str, rows: Callable[[], Rows]) -> bool:
        """False: this sampler has failed. After a failure nothing more is written: the file's tail may be torn."""
        try:
            found = () if name in self._failed else rows()
            if name not in self._failed:  # another source of it may have failed meanwhile
                self._sinks[name].append(found)
        except Exception as e:  # a sampler that fell silent would look like a calm second
            self._fail(name, e)
        return name not in self._failed

    def _fail(self, name: str, e: Exception) -> None:
        if name not in self._failed:
            self._failed.add(name)
            self._on_failure(f"sampler {name}: {type(e).__name__}: {e}")
