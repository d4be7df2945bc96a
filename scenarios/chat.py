"""Chat users: requests through the gateway, most of them streamed, with a think time between requests."""

from locust import task

from contract.request import Request
from scenarios.gateway.prompts import prompt
from scenarios.gateway.user import GatewayUser

STREAMED = 0.7
PROMPT_TOKENS = (20, 400)
THINK_S = (2.0, 6.0)


class ChatUser(GatewayUser):
    scenario = "chat"

    def wait_time(self) -> float:
        return self.random.uniform(*THINK_S)

    @task
    def chat(self) -> None:
        # Drawn in this order whatever the outcome of the request, so that a run is reproducible.
        streamed = self.random.random() < STREAMED
        text = prompt(self.random, self.prompt_tokens(self.random.randint(*PROMPT_TOKENS)))
        self.send(Request(prompt=text, stream=streamed))


USER = ChatUser
