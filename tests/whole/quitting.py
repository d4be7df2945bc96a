"""The project's locustfile, and a runner that quits as soon as enough requests were answered."""

import itertools
from typing import Any

import gevent
from locust import events
from locust.env import Environment

from locustfile import *  # noqa: F403  Locust looks for what it takes in this file

ANSWERS = 50  # more than there are users: these begin together and are in step at first


@events.init.add_listener
def _quit(environment: Environment, **_: Any) -> None:
    answers = itertools.count(1)

    def count(**_: Any) -> None:
        if next(answers) == ANSWERS:
            gevent.spawn(environment.runner.quit)

    environment.events.request.add_listener(count)
