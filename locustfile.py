"""Brownout's locustfile: the options of a run, the users that it may have, and the events of Locust that it follows.

What a run is, step by step: `scenarios/run/__init__.py`.
"""

from typing import Any

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from scenarios.chat import ChatUser
from scenarios.classify import ClassifyUser
from scenarios.direct import DirectUser
from scenarios.gateway.open_loop import Idle
from scenarios.overhead import OverheadUser
from scenarios.run import arguments, locust_events, verdict
from scenarios.run.inputs import Scenarios

# Locust takes the users that it finds here by name.
__all__ = ["ChatUser", "ClassifyUser", "DirectUser", "Idle", "OverheadUser"]

SCENARIOS = (ChatUser, DirectUser, OverheadUser)
ON_REQUEST = (ClassifyUser,)  # only where the timeline or --scenarios names them
REPORT = verdict.report

locust_events.before_start()


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    arguments.declare(parser, ClassifyUser.fixed_count)


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    scenarios = Scenarios(default=SCENARIOS, on_request=ON_REQUEST, of_documents=ClassifyUser)
    locust_events.bind(environment, scenarios, REPORT)
