"""The input and the measurement of each client that `streams` compares. Starts nothing, patches nothing."""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contract.command_line import Parser
from contract.endpoint import Endpoint
from contract.prompt import COUNT_UPWARDS
from contract.request import Request

PROMPT = f"{COUNT_UPWARDS} " * 5
WARM_S = 1.0
END = b"0\r\n\r\n"  # the truth server writes it last, in one write with the end of the stream


class Run:
    """One client's closed loop. `found`: request id and instant of the first token of each whole answer."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.url: str = given.url
        self.streams: int = given.streams
        self.tokens: int = given.tokens
        self.seconds: float = given.seconds
        self.over_s: float = given.over
        self.folder: Path = given.folder
        self.prefix: str = given.prefix
        self.endpoint = Endpoint.of(given.url, "tiny")
        self.found: list[tuple[str, float]] = []
        self._requests = 0
        self._request = Request(prompt=PROMPT, stream=True, max_tokens=self.tokens, ignore_eos=True)

    def request(self) -> tuple[str, bytes]:
        """A new id, and the whole request."""
        self._requests += 1
        name = f"req-{self.prefix}-{self._requests:06x}"
        return name, self.endpoint.request(name, self._request)

    def parts(self) -> tuple[str, dict[str, str], bytes]:
        """The same for clients with their own HTTP: id, headers, body."""
        name, request = self.request()
        return (
            name,
            {"x-request-id": name, "Content-Type": "application/json"},
            request.partition(b"\r\n\r\n")[2],
        )

    def begin_s(self) -> float:
        """Random start of a stream, so that streams do not synchronise."""
        return random.uniform(0.0, self.over_s)


class Measure:
    """CPU and whole answers from its creation until `stop`."""

    def __init__(self, run: Run) -> None:
        self._run, self._count = run, len(run.found)
        self._cpu_s, self.began_at = time.process_time(), time.monotonic()

    def stop(self) -> None:
        self._cpu_s, self.ended_at = time.process_time() - self._cpu_s, time.monotonic()
        self._found = self._run.found[self._count :]

    def print_json(self, found: list[tuple[str, float]] | None = None, **more: Any) -> None:
        """Print one line of JSON. `found`: used if the client collects its own."""
        found = self._found if found is None else found
        print(
            json.dumps(
                {"cpu_s": self._cpu_s, "wall_s": self.ended_at - self.began_at, "found": found} | more
            ),
            flush=True,
        )


def is_token(line: bytes) -> bool:
    """Whether one line of a stream has a token; parses what a client must parse."""
    if not line.startswith(b"data: {"):
        return False
    choices = json.loads(line[6:])["choices"]
    return bool(choices and choices[0]["delta"].get("content"))


def main(clients: dict[str, Callable[[Run], None]], given: list[str] | None = None) -> None:
    parser = Parser()
    parser.add_argument("client", choices=clients)
    parser.add_argument("--url", required=True, help="with its mode")
    parser.add_argument("--streams", type=int, required=True, help="how many at once")
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--over", type=float, required=True, help="seconds over which the streams begin")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--prefix", required=True, help="of its request ids")
    args = parser.parse_args(given)
    clients[args.client](Run(args))
