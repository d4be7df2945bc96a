"""The experiment of a run while its users send requests: chaos runs a timeline, or a search finds a rate."""

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
    end_reason: str | None = None  # None: it ended normally, or is still running


class Experiment(Protocol):
    """`start`, then `stop` or its own end; `over` then has its exit code."""

    progress: Progress
    over: gevent.event.AsyncResult

    def start(self) -> float | None:
        """Start. Returns the time at which its clock started (unix seconds); None: it injects no faults. Raises Refusal."""

    def stop(self) -> None:
        """End it now; `over` is set after all its changes are restored. Safe to call twice."""

    def close(self) -> None:
        """Clean up after its end."""

    def conclude(self, report: Verdict, folder: Path) -> Verdict:
        """The verdict of the run, from the verdict of its report."""
