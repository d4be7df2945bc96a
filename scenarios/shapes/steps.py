"""Load levels one after the other, each for a while; the last one remains.

    make soak SHAPE=steps OPTIONS="--steps-factors 0.5,1,2 --steps-each 1m"

`--steps-factors`: the levels, in multiples of the usual load. `--steps-each`: duration of each.
"""

import argparse
import math

from locust import events
from locust.argument_parser import LocustArgumentParser

from contract.refusal import Refusal
from scenarios.gateway.load_shape import LoadShape, seconds


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--steps-factors",
        default="0.5,1,1.5,2",
        help="shape steps: load levels, in multiples of the usual load",
    )
    parser.add_argument("--steps-each", default="1m", help="shape steps: duration of each level")


class Steps(LoadShape):
    def read(self, options: argparse.Namespace) -> None:
        self._each_s = seconds(options, "steps_each")
        if not self._each_s:
            raise Refusal("--steps-each: 0s is not a duration above 0; write it like 1m")
        try:
            self._factors = [float(factor) for factor in options.steps_factors.split(",")]
        except ValueError:
            self._factors = []
        if not self._factors or not all(0 <= factor < math.inf for factor in self._factors):
            raise Refusal(
                f"--steps-factors: {options.steps_factors!r} are not levels; write them like 0.5,1,2"
            )

    def factor(self, at_s: float) -> float:
        return self._factors[min(int(at_s // self._each_s), len(self._factors) - 1)]
