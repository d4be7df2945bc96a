"""The state of a run from the start of its experiment until it is closed."""

from dataclasses import dataclass, field

import gevent

from contract.clock import Clock
from contract.run import Run
from contract.topology import Topology
from scenarios.gateway.distributed.gathering import Gathering
from scenarios.gateway.recording import Recording
from scenarios.run.experiment import Experiment


@dataclass(kw_only=True)
class RunContext:
    run: Run
    topology: Topology
    clock: Clock
    recording: Recording | Gathering
    experiment: Experiment
    stopping: bool = False  # the users are finishing
    stopped_early: bool = False  # before the experiment had ended
    greenlets: list[gevent.Greenlet] = field(default_factory=list)  # killed when the run is closed

    @property
    def started_at(self) -> float:
        """In unix seconds."""
        return float(self.run.manifest["started_at"])
