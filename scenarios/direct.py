"""One user that sends a request directly to each engine in turn, slowly: the latency of a tier without the gateway."""

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
        tiers = self.user_context.direct_tiers()
        if tiers:
            tier, streamed = turn(self.user_context.next_turn(self.scenario), [t.name for t in tiers])
            text = prompt(self.random, self.prompt_tokens(PROMPT_TOKENS))
            self.send(Request(prompt=text, stream=streamed, via=tier))


def turn(number: int, tiers: list[str]) -> tuple[str, bool]:
    """The tier, and whether the request is streamed: each tier streamed, then each tier unstreamed."""
    round_, place = divmod(number, len(tiers))
    return tiers[place], round_ % 2 == 0


USER = DirectUser
