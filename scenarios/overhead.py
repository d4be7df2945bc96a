"""What the gateway adds: the same request through it and straight to the engine, four to a pair, on kept connections.

The order is ABBA or BAAB at random: a drift of the machine within a pair then weighs on both sides alike.
"""

import random

from locust import task

from contract.caps import Use, cap
from contract.records import GATEWAY, Lane
from contract.request import Request
from scenarios.gateway.prompts import prompt
from scenarios.gateway.user import GatewayUser

PAUSE_S = 1.0
# A pair that is cut off by a fault would be compared with itself under another sky.
LEAST_LEFT_S = 3.0
PROMPT_TOKENS = 60


class OverheadUser(GatewayUser):
    scenario = "overhead"
    fixed_count = 1

    def wait_time(self) -> float:
        return PAUSE_S

    @task
    def pair(self) -> None:
        """One pair. Where none may begin it idles: a user who left would be missing from Locust's count."""
        tiers = self.stage.direct_tiers()
        if not tiers or not time_for_a_pair(self.stage.clock.now(), self.stage.overhead_until):
            return
        text = prompt(self.random, PROMPT_TOKENS)
        pair, most = self.stage.next_pair_id(), cap(self.stage.topology, Use.USERS)
        for via in order(self.random, tiers[0].name):
            # Both sides of a pair are alike in their cap too, whatever the tier's own is.
            self.send(
                Request(prompt=text, stream=True, via=via, lane=Lane.OVERHEAD, pair=pair, max_tokens=most)
            )


def order(rng: random.Random, tier: str) -> list[str]:
    """ABBA or BAAB."""
    return rng.choice([[GATEWAY, tier, tier, GATEWAY], [tier, GATEWAY, GATEWAY, tier]])


def time_for_a_pair(now: float, until: float | None) -> bool:
    """Whether a pair begun now is whole before `until`."""
    return until is None or now + LEAST_LEFT_S <= until


USER = OverheadUser
