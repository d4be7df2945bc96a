"""Creates the user context and sends the warm-up requests, which are in no metric."""

import argparse
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contract import printable
from contract.clock import Clock, share
from contract.topology import Topology
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.recording import Memory
from scenarios.gateway.user_context import UserContext, endpoints
from scenarios.gateway.warmup import ended_early, preflight, unhealthy, warm_up
from scenarios.run.inputs import Inputs

if TYPE_CHECKING:
    from scenarios.gateway.load_shape import LoadShape


@dataclass(frozen=True)
class Warmed:
    """The result of the warm-up."""

    user_context: UserContext
    records: Memory  # of the warm-up's requests


def warm(
    topology: Topology,
    inputs: Inputs,
    options: argparse.Namespace,
    shape: "LoadShape | None",
    on_failure: Callable[[str], None],
) -> Warmed:
    """`on_failure`: called if records cannot be stored. Raises Refusal if the gateway gives no usable answer."""
    print("warming up", flush=True)
    # A new clock per run: after a suspend of the machine, an older clock would be late.
    clock = Clock()
    share(clock)
    gateway, tiers = endpoints(topology)
    records = Memory()
    user_context = UserContext(
        topology=topology, recorder=Recorder(records, on_failure), clock=clock, seed=options.seed,
        prefix=secrets.token_hex(3), gateway=gateway, tiers=tiers, arrivals=inputs.arrivals,
        max_in_flight=options.max_in_flight, scenario_inputs=inputs.of_scenarios,
    )  # fmt: skip
    if shape is not None:
        user_context.factor = shape.factor
    requests = warm_up(user_context)
    preflight(requests, topology)
    for wrong in (*ended_early(requests, topology), *unhealthy(topology)):
        print(printable.line(f"NOT WELL: {wrong}"), file=sys.stderr, flush=True)
    return Warmed(user_context, records)
