"""What a run gives to its users: `environment.brownout`. It opens nothing before the run opens."""

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
from scenarios.gateway.arrivals import Arrival, Arrivals, WorkerShare
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.wire.watchdog import Watchdog

MAX_IN_FLIGHT = 1000
DEADLINES = Deadlines(connect=5.0, first_token=60.0, silence=30.0, whole=300.0)
PLAIN_FIELDS = ("seed", "max_in_flight")
"""Fields that a master sends to its workers unchanged, besides topology, arrivals and worker names. Never a key."""


@dataclass(kw_only=True, slots=True)
class UserContext:
    """One per process and run. `prefix`: hexadecimal, the start of every request id of the run."""

    topology: Topology
    recorder: Recorder
    clock: Clock
    seed: int
    prefix: str
    gateway: Endpoint
    tiers: dict[str, Endpoint | None]  # None: the topology has no url, so it gets no direct requests
    deadlines: Deadlines = DEADLINES
    watchdog: Watchdog = field(default_factory=Watchdog)
    overhead_until: float | None = None  # unix seconds; None: until the end of the run
    worker: str | None = None
    arrivals: Arrivals | None = None  # of the open loop; None: a closed loop
    share: WorkerShare = field(default_factory=WorkerShare)  # this process's share of the arrivals
    # multiplies the rate at a time (seconds after the start)
    factor: Callable[[float], float] = lambda at_s: 1.0
    via: str = GATEWAY  # target of the users' requests: the gateway or a tier
    max_in_flight: int = MAX_IN_FLIGHT  # of this process; arrivals above it are dropped and counted
    # scenario → its input, from `GatewayUser.read`
    scenario_inputs: Mapping[str, Any] = field(default_factory=dict)
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
        """A counter from 0, shared by the scenario's users."""
        self._turns[scenario] += 1
        return self._turns[scenario] - 1

    def shared(self, scenario: str, make: Callable[[Any], Any]) -> Any:
        """An object shared by all of the scenario's users in this process: made once from the scenario's input."""
        if scenario not in self._shared:
            self._shared[scenario] = make(self.scenario_inputs[scenario])
        return self._shared[scenario]

    def random_of_next(self, scenario: str) -> random.Random:
        """A random generator for the next user, reproducible per user."""
        index = self._users[scenario]
        self._users[scenario] += 1
        return random.Random(f"{self.seed}/{self.worker}/{scenario}/{index}")

    def direct_tiers(self) -> list[Tier]:
        """Tiers that may get direct requests. Never a cloud tier: it costs money and may serve only as a fallback."""
        return [t for t in self.topology.tiers if self.tiers[t.name] is not None and not t.cloud]


def as_values(user_context: UserContext) -> dict[str, Any]:
    """A master's user context as plain values, for its workers."""
    arrivals = None if user_context.arrivals is None else asdict(user_context.arrivals)
    inputs = list(user_context.scenario_inputs)  # every worker reads its own input
    return {
        "topology": topologies.dump(user_context.topology),
        "arrivals": arrivals,
        "scenario_inputs": inputs,
    } | {name: getattr(user_context, name) for name in PLAIN_FIELDS}


def from_values(
    values: Mapping[str, Any], recorder: Recorder, clock: Clock, worker: str, prefix: str
) -> UserContext:
    """A worker's user context; keys come from the worker's environment. Raises Refusal."""
    topology, arrivals = topologies.read_text(values["topology"]), values["arrivals"]
    gateway, tiers = endpoints(topology)
    if arrivals is not None:
        arrivals = Arrivals(**arrivals | {"trace": tuple(Arrival(**a) for a in arrivals["trace"])})
    return UserContext(
        topology=topology, recorder=recorder, clock=clock, prefix=prefix, gateway=gateway, tiers=tiers, worker=worker,
        arrivals=arrivals, **{name: values[name] for name in PLAIN_FIELDS},
    )  # fmt: skip


def endpoints(topology: Topology) -> tuple[Endpoint, dict[str, Endpoint | None]]:
    """The gateway's and the tiers' endpoints, with keys from the environment. Raises Refusal."""
    tiers = {tier.name: None if tier.cloud else Endpoint.of_tier(tier) for tier in topology.tiers}
    return Endpoint.of_gateway(topology.gateway), tiers
