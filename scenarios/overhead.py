"""The latency that the gateway adds: the same request through it and directly to the engine, four per pair, on kept connections.

The order is ABBA or BAAB at random, so that drift of the machine within a pair affects both sides equally.
"""

import random

from locust import task

from contract.caps import Use, cap
from contract.records import GATEWAY, Lane
from contract.request import Request
from scenarios.gateway.prompts import prompt
from scenarios.gateway.user import GatewayUser

PAUSE_S = 1.0
# A fault in the middle of a pair would make its two sides incomparable.
LEAST_LEFT_S = 3.0
PROMPT_TOKENS = 60


class OverheadUser(GatewayUser):
    scenario = "overhead"
    fixed_count = 1

    def wait_time(self) -> float:
        return PAUSE_S

    @task
    def pair(self) -> None:
        """Send one pair. The user idles where no pair may start: if it left, Locust's user count would be too low."""
        tiers = self.user_context.direct_tiers()
        if not tiers or not time_for_a_pair(self.user_context.clock.now(), self.user_context.overhead_until):
            return
        text = prompt(self.random, PROMPT_TOKENS)
        pair, most = self.user_context.next_pair_id(), cap(self.user_context.topology, Use.USERS)
        for via in order(self.random, tiers[0].name):
            # Both sides of a pair have the same cap, whatever the tier's own cap is.
            self.send(
                Request(prompt=text, stream=True, via=via, lane=Lane.OVERHEAD, pair=pair, max_tokens=most)
            )


def order(rng: random.Random, tier: str) -> list[str]:
    """ABBA or BAAB."""
    return rng.choice([[GATEWAY, tier, tier, GATEWAY], [tier, GATEWAY, GATEWAY, tier]])


def time_for_a_pair(now: float, until: float | None) -> bool:
    """Whether a pair that starts now is complete before `until`."""
    return until is None or now + LEAST_LEFT_S <= until


USER = OverheadUser
