"""One user who asks each engine directly, slowly: what a tier takes when no gateway stands before it."""

from locust import task

from contract.request import Request
from scenarios.gateway.prompts import prompt
from scenarios.gateway.user import GatewayUser

EVERY_S = 10.0
PROMPT_TOKENS = 60


class DirectUser(GatewayUser):
    scenario = "direct"
    fixed_count = 1

    def wait_time(self) -> float:
        return EVERY_S

    @task
    def direct(self) -> None:
        tiers = self.stage.direct_tiers()
        if tiers:
            tier, streamed = turn(self.stage.next_turn(self.scenario), [t.name for t in tiers])
            text = prompt(self.random, self.prompt_tokens(PROMPT_TOKENS))
            self.send(Request(prompt=text, stream=streamed, via=tier))


def turn(number: int, tiers: list[str]) -> tuple[str, bool]:
    """Whose turn it is, and whether streamed: every tier streamed, then every tier plain."""
    round_, place = divmod(number, len(tiers))
    return tiers[place], round_ % 2 == 0


USER = DirectUser
