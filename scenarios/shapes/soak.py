"""The full load for the whole run, after a linear ramp-up, so that a soak of hours or days starts without a burst.

    make soak SHAPE=soak DURATION=24h OPTIONS="--soak-ramp-up 10m"

`--soak-ramp-up`: time until the full load; the load rises linearly.
"""

import argparse

from locust import events
from locust.argument_parser import LocustArgumentParser

from scenarios.gateway.load_shape import LoadShape, seconds


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument("--soak-ramp-up", default="2m", help="shape soak: time until the full load")


class Soak(LoadShape):
    def read(self, options: argparse.Namespace) -> None:
        self._ramp_up_s = seconds(options, "soak_ramp_up")

    def factor(self, at_s: float) -> float:
        return min(1.0, at_s / self._ramp_up_s) if self._ramp_up_s else 1.0
