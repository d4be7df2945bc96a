"""What a run hands to its users: `environment.brownout`. Nothing in it is opened before the run is."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from contract import topology as topologies
from contract.clock import Clock
from contract.deadlines import Deadlines
from contract.endpoint import Endpoint
from contract.records import GATEWAY
from contract.topology import Tier, Topology
from scenarios.gateway.arrivals import Arrival, Arrivals, Share
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.wire.watchdog import Watchdog

MAX_IN_FLIGHT = 1000
DEADLINES = Deadlines(connect=5.0, first_token=60.0, silence=30.0, whole=300.0)
TOLD = ("seed", "max_in_flight")
"""What a master tells of its stage to its workers, besides the topology, the arrivals and who they are. Never a key."""


@dataclass(kw_only=True, slots=True)
class Stage:
    """One per process and run. `prefix`: hexadecimal, leads every request id of the run."""

    topology: Topology
    recorder: Recorder
    clock: Clock
    seed: int
    prefix: str
    gateway: Endpoint
    tiers: dict[str, Endpoint | None]  # None: the topology gives no url, so it is never asked directly
    deadlines: Deadlines = DEADLINES
    watchdog: Watchdog = field(default_factory=Watchdog)
    overhead_until: float | None = None  # unix seconds; None: as long as the run lasts
    worker: str | None = None
    arrivals: Arrivals | None = None  # of the open loop; None: users ask in a closed one
    share: Share = field(default_factory=Share)  # of the arrivals: this process's
    factor: Callable[[float], float] = lambda at_s: 1.0  # of the rate, so many seconds after the start
    via: str = GATEWAY  # whom the users of the load ask
    max_in_flight: int = MAX_IN_FLIGHT  # of this process's arrivals; more are refused, and counted
    scenario_inputs: Mapping[str, Any] = field(
        default_factory=dict
    )  # scenario → what it has read for this run
    _requests: int = field(default=0, init=False)
    _pairs: int = field(default=0, init=False)
    _users: Counter[str] = field(default_factory=Counter, init=False)
    _turns: Counter[str] = field(default_factory=Counter, init=False)
    _shared: dict[str, Any] = field(default_factory=dict, init=False)

    def next_request_id(self) -> str:
        """The nonce of one request, unique over the run."""
        self._requests += 1
        return f"req-{self.prefix}-{self._requests:06x}"

    def next_pair_id(self) -> str:
        self._pairs += 1
        return f"pair-{self.prefix}-{self._pairs:06x}"

    def next_turn(self, scenario: str) -> int:
        """From 0, whichever of the scenario's users takes it."""
        self._turns[scenario] += 1
        return self._turns[scenario] - 1

    def shared(self, scenario: str, make: Callable[[Any], Any]) -> Any:
        """What all of the scenario's users in this process have in common: made once, of what the scenario has read."""
        if scenario not in self._shared:
            self._shared[scenario] = make(self.scenario_inputs[scenario])
        return self._shared[scenario]

    def random_of_next(self, scenario: str) -> random.Random:
        """The next user's own generator: the same run draws the same again, user by user."""
        index = self._users[scenario]
        self._users[scenario] += 1
        return random.Random(f"{self.seed}/{self.worker}/{scenario}/{index}")

    def direct_tiers(self) -> list[Tier]:
        """Those that may be asked directly. Never a cloud tier: it costs money and must serve only in need."""
        return [t for t in self.topology.tiers if self.tiers[t.name] is not None and not t.cloud]


def told(stage: Stage) -> dict[str, Any]:
    """A master's stage as plain values, for its workers' own."""
    arrivals = None if stage.arrivals is None else asdict(stage.arrivals)
    inputs = list(stage.scenario_inputs)  # every worker reads them itself
    return {"topology": topologies.dump(stage.topology), "arrivals": arrivals, "scenario_inputs": inputs} | {
        name: getattr(stage, name) for name in TOLD
    }


def of_told(said: Mapping[str, Any], recorder: Recorder, clock: Clock, worker: str, prefix: str) -> Stage:
    """A worker's own stage; keys are taken from its own environment. Raises Refusal."""
    topology, arrivals = topologies.read_text(said["topology"]), said["arrivals"]
    gateway, tiers = endpoints(topology)
    if arrivals is not None:
        arrivals = Arrivals(**arrivals | {"trace": tuple(Arrival(**a) for a in arrivals["trace"])})
    return Stage(
        topology=topology, recorder=recorder, clock=clock, prefix=prefix, gateway=gateway, tiers=tiers, worker=worker,
        arrivals=arrivals, **{name: said[name] for name in TOLD},
    )  # fmt: skip


def endpoints(topology: Topology) -> tuple[Endpoint, dict[str, Endpoint | None]]:
    """The gateway's and the tiers' endpoints, keys taken from the environment. Raises Refusal."""
    tiers = {tier.name: None if tier.cloud else Endpoint.of_tier(tier) for tier in topology.tiers}
    return Endpoint.of_gateway(topology.gateway), tiers
