"""A search instead of chaos: its shape sets the rate, no faults are injected, and its end ends the run."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import gevent.event

from contract.refusal import Refusal
from scenarios.gateway.user_context import UserContext
from scenarios.run.experiment import Progress
from scenarios.run.verdict import Verdict

if TYPE_CHECKING:
    from scenarios.gateway.load_shape import Search


def take_over(search: "Search", options: argparse.Namespace, workers: bool) -> None:
    """Set the search's own arrivals and scenarios in the options. Raises Refusal if options contradict it."""
    name = type(search).__name__
    if workers or not options.headless:
        raise Refusal(f"shape {name}: needs a single Locust process and --headless")
    if options.arrivals:
        raise Refusal(f"--arrivals: shape {name} sets its own; remove the option")
    options.arrivals = search.arrivals
    options.scenarios = options.scenarios or search.scenarios


def too_many_cloud_answers(cloud: int, most: int | None) -> str | None:
    """The timeline's guard `max_cloud_answers`: cloud answers cost money without faults too."""
    if most is None or cloud <= most:
        return None
    return f"guard: {cloud} answers of a cloud tier, max_cloud_answers is {most}"


class SearchExperiment:
    """An experiment. `ended`: called when the search ends; `failed`: called when it raises."""

    def __init__(
        self,
        search: "Search",
        user_context: UserContext,
        folder: Path,
        guard: Callable[[], str | None],
        ended: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self.progress = Progress()
        self.over: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._search, self._user_context, self._folder, self._guard = search, user_context, folder, guard
        self._ended, self._failed = ended, failed
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        try:
            self._search.run(self._user_context, self._folder, self._guard)
        except Exception as e:  # our bug; the arrivals must not continue without the search
            self._failed(f"error: {type(e).__name__}: {e}")
            raise
        self.over.set(0)
        gevent.spawn(self._ended)  # it stops the run, which kills this greenlet

    def stop(self) -> None:
        self.close()
        self.over.set(0)

    def close(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill()

    def conclude(self, report: Verdict, folder: Path) -> Verdict:
        found, exit_code = self._search.conclusion()
        return Verdict(f"{found}\n{folder}", exit_code)
