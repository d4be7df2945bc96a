"""The usual load, a burst, the usual load again: does an overloaded stack recover by itself?

    make soak SHAPE=spike OPTIONS="--spike-at 1m --spike-for 30s --spike-factor 5"

`--spike-at`: start of the burst, after the start of the run. `--spike-for`: its duration. `--spike-factor`: its load, in multiples
of the usual load.
"""

import argparse

from locust import events
from locust.argument_parser import LocustArgumentParser

from scenarios.gateway.load_shape import LoadShape, positive, seconds


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--spike-at", default="1m", help="shape spike: start of the burst, after the start of the run"
    )
    parser.add_argument("--spike-for", default="30s", help="shape spike: duration of the burst")
    parser.add_argument(
        "--spike-factor",
        type=float,
        default=5.0,
        help="shape spike: load of the burst, in multiples of the usual load",
    )


class Spike(LoadShape):
    def read(self, options: argparse.Namespace) -> None:
        self._begins_s = seconds(options, "spike_at")
        self._ends_s = self._begins_s + seconds(options, "spike_for")
        self._burst = positive(options, "spike_factor")

    def factor(self, at_s: float) -> float:
        return self._burst if self._begins_s <= at_s < self._ends_s else 1.0
