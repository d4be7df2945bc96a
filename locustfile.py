"""Brownout's locustfile: the options of a run, its user classes, and the Locust events that it listens to.

The steps of a run: `scenarios/run/__init__.py`.
"""

import sys
from typing import Any

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

import scenarios
from contract import printable
from contract.refusal import EXIT_BAD_INPUT, Refusal
from scenarios.gateway.open_loop import Idle
from scenarios.run import arguments, locust_events, verdict

try:
    USERS = scenarios.users()
except Refusal as e:
    print(printable.lines(e), file=sys.stderr)
    sys.exit(EXIT_BAD_INPUT)
REPORT = verdict.report
# Locust finds user classes by their names in this module.
globals().update({user.__name__: user for user in (*USERS.values(), Idle)})

locust_events.before_start()


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    arguments.declare(parser, USERS)


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    locust_events.bind(environment, USERS, REPORT)
