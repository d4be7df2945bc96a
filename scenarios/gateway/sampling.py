"""Runs the samplers of a load generator, one greenlet per source."""

from collections.abc import Callable, Mapping

import gevent
import psutil

from contract.sampler import Given, Load, Rows, Sampler, Source, sampled
from scenarios.gateway.heartbeat import Heartbeat
from scenarios.gateway.recorder import Sink
from scenarios.gateway.user_context import UserContext


class Sampling:
    """Call `start` after any fork; `stop` is safe to call twice."""

    def __init__(
        self,
        of: Mapping[str, Sampler],
        user_context: UserContext,
        users: Callable[[], int] | None,
        sink: Callable[[str], Sink],
        on_failure: Callable[[str], None],
    ) -> None:
        """`users`: the current number of users; None: this process sends no requests. `sink`: sampler name → destination of its rows.

        `on_failure`: called once for a sampler whose rows cannot be read or written; that sampler stops.
        """
        self._of, self._user_context, self._users, self._on_failure = of, user_context, users, on_failure
        self._sinks = {name: sink(name) for name in of}
        self._failed: set[str] = set()
        self._beat = Heartbeat()
        self._greenlets: dict[gevent.Greenlet, tuple[str, Source]] = {}

    def start(self) -> None:
        """Raises Refusal if a sampler cannot run; then none is started."""
        load = None
        if self._users is not None:
            tally, own = self._user_context.recorder.tally, psutil.Process()
            load = Load(self._users, tally, self._beat.lag_s, own.cpu_percent, self._user_context.worker)
        given = Given(self._user_context.topology, self._user_context.clock, load)
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
        samples = sampled(source, sampler.every_s, self._user_context.clock.now, gevent.sleep)
        while self._keep(name, lambda: next(samples)):
            pass

    def _keep(self, name: str, rows: Callable[[], Rows]) -> bool:
        """False: this sampler has failed. After a failure nothing more is written, since the end of the file may be torn."""
        try:
            found = () if name in self._failed else rows()
            if name not in self._failed:  # another of its sources may have failed meanwhile
                self._sinks[name].append(found)
        except Exception as e:  # without an error, missing samples would look like a quiet second
            self._fail(name, e)
        return name not in self._failed

    def _fail(self, name: str, e: Exception) -> None:
        if name not in self._failed:
            self._failed.add(name)
            self._on_failure(f"sampler {name}: {type(e).__name__}: {e}")
