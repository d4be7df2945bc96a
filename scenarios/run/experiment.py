"""What a run is made for while its users send requests: chaos runs a timeline, or a search looks for a rate."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import gevent.event

from contract.messages import Status
from scenarios.gateway.status_line import Restoring
from scenarios.run.verdict import Verdict


@dataclass
class Progress:
    """What an experiment has reported so far."""

    status: Status | None = None  # the latest
    restoring: Restoring = field(default_factory=Restoring)
    end_reason: str | None = None  # None: it ended by itself, or goes on


class Experiment(Protocol):
    """`start`, then one `stop` or its own end; `over` has its exit code then."""

    progress: Progress
    over: gevent.event.AsyncResult

    def start(self) -> float | None:
        """When its clock started, in unix seconds; None: it makes no fault. Raises Refusal."""

    def stop(self) -> None:
        """End it now; `over` is set when what it changed is restored. Safe to call twice."""

    def close(self) -> None:
        """It is over: end what still runs of it."""

    def conclude(self, report: Verdict, folder: Path) -> Verdict:
        """The verdict of the run, given that of its report."""
