"""Makes the stage of the users and sends the first requests, which no metric counts."""

import argparse
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contract.clock import Clock, share
from contract.topology import Topology
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.recording import Memory
from scenarios.gateway.user_context import Stage, endpoints
from scenarios.gateway.warmup import ended_early, preflight, unhealthy, warm_up
from scenarios.run.inputs import Inputs

if TYPE_CHECKING:
    from scenarios.gateway.load_shape import LoadShape


@dataclass(frozen=True)
class Warmed:
    """What is there once the stack is warm."""

    stage: Stage
    records: Memory  # of the warm-up's requests


def warm(
    topology: Topology,
    inputs: Inputs,
    options: argparse.Namespace,
    shape: "LoadShape | None",
    on_failure: Callable[[str], None],
) -> Warmed:
    """`on_failure`: called where records cannot be kept. Raises Refusal where the gateway gives no usable answer."""
    print("warming up", flush=True)
    # A clock of this run: on a machine that slept since the last one, an older clock would be late.
    clock = Clock()
    share(clock)
    gateway, tiers = endpoints(topology)
    records = Memory()
    stage = Stage(
        topology=topology, recorder=Recorder(records, on_failure), clock=clock, seed=options.seed,
        prefix=secrets.token_hex(3), gateway=gateway, tiers=tiers, arrivals=inputs.arrivals,
        max_in_flight=options.max_in_flight, scenario_inputs=inputs.of_scenarios,
    )  # fmt: skip
    if shape is not None:
        stage.factor = shape.factor
    requests = warm_up(stage)
    preflight(requests, topology)
    for wrong in (*ended_early(requests, topology), *unhealthy(topology)):
        print(f"NOT WELL: {wrong}", file=sys.stderr, flush=True)
    return Warmed(stage, records)
