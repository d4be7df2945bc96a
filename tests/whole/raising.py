"""The project's locustfile and one more scenario, whose task raises: before its request, after it, and in it."""

from locust import task

import locustfile as house
from contract.request import Request
from locustfile import *  # noqa: F403  Locust looks for what it takes in this file
from scenarios.gateway.user import GatewayUser


class RaisingUser(GatewayUser):
    scenario = "raising"
    turn = 0

    def wait_time(self) -> float:
        return 0.05

    @task
    def raise_now_and_then(self) -> None:
        self.turn += 1
        if self.turn % 3 == 0:
            raise RuntimeError("before the request")
        self.send(Request(prompt="Count.", stream=True, via="nowhere" if self.turn == 2 else "gateway"))
        if self.turn % 3 == 1:
            raise RuntimeError("after the request")


house.USERS[RaisingUser.scenario] = RaisingUser
