"""A Locust file: the harness directly against the truth server. Users send requests and records are written, nothing else.

locust -f benchmarks/load.py --headless --url http://127.0.0.1:PORT/32x10+50 --folder /tmp/run
"""

from pathlib import Path
from typing import Any

import gevent
from locust import events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from contract import topology
from contract.clock import Clock
from contract.request import Request
from scenarios.gateway.prompts import prompt
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.recording import Memory, Recording
from scenarios.gateway.user import GatewayUser
from scenarios.gateway.user_context import UserContext, endpoints

PROMPT_TOKENS = 60
TOPOLOGY = """
gateway: {{url: "{url}", model: tiny, max_tokens: {tokens}}}
tiers: [{{name: vllm, match: {{group: tiny}}, url: "{url}", model: tiny, ignore_eos: true}}]
"""


@events.init_command_line_parser.add_listener
def _arguments(parser: LocustArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="of the truth server, with a mode as its path")
    parser.add_argument("--folder", required=True, type=Path, help="where the records are written")
    parser.add_argument(
        "--tokens", type=int, default=32, help="the cap of each request, the number of tokens of the mode"
    )
    parser.add_argument(
        "--every", type=float, default=0.0, help="seconds between requests of one user; 0: at once"
    )
    parser.add_argument("--over", type=float, default=0.0, help="seconds over which the users begin")
    parser.add_argument(
        "--plain", type=float, default=0.0, help="the share of requests that are not streamed"
    )


@events.init.add_listener
def _open(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    environment.brownout = user_context = user_context_of(options.url, options.tokens)
    options.folder.mkdir(parents=True, exist_ok=True)
    recording = Recording(
        lambda: environment.runner.user_count, user_context, options.folder, Memory(), print
    )
    environment.events.test_stop.add_listener(lambda **_: recording.close())


def user_context_of(url: str, tokens: int, prefix: str = "be9c00") -> UserContext:
    found = topology.read_text(TOPOLOGY.format(url=url, tokens=tokens))
    gateway, tiers = endpoints(found)
    return UserContext(
        topology=found, recorder=Recorder(Memory(), print), clock=Clock(), seed=1, prefix=prefix, gateway=gateway,
        tiers=tiers,
    )  # fmt: skip


class LoadUser(GatewayUser):
    scenario = "load"

    def on_start(self) -> None:
        options = self.environment.parsed_options
        self._every, self._plain = options.every, options.plain
        gevent.sleep(self.random.uniform(0.0, options.over))  # users must not fall into step
        self._due = self.user_context.clock.now()

    def wait_time(self) -> float:
        """On schedule: the duration of a request does not delay the next one."""
        self._due += self._every
        return max(0.0, self._due - self.user_context.clock.now())

    @task
    def load(self) -> None:
        self.send(
            Request(prompt=prompt(self.random, PROMPT_TOKENS), stream=self.random.random() >= self._plain)
        )
