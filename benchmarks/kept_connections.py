"""How often LiteLLM sends requests to the next tier because it reuses a connection that a healthy engine has closed.

python -m benchmarks.kept_connections                    a real llama.cpp: five trials of each setting, then its cost
python -m benchmarks.kept_connections --engine simulated   a simulated engine instead

Each setting has its own gateway, a real LiteLLM; the engine and the next tier are shared. The settings take turns. In a
trial six clients send 300 streamed requests, each as soon as the previous one has ended. No fault is injected, so each answer
of the next tier is unnecessary. The cost is measured with plain requests, one at a time, for which the engine keeps its
connections: each setting in turn, and the difference from `nothing` in the same turn.
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import yaml

from analysis.metrics.trials import CONFIDENCE, median_interval, wilson
from contract import page
from contract.command_line import Parser, count_from
from embedded import gateway
from embedded.ports import Reserved, free_port
from tests.chaos.stand import ROOT, until
from tests.embedded.llamacpp import MODELS, PYTHON
from tests.whole.client import ClientProcess

OWN, NEXT = "own", "next"
ENGINES = ("llamacpp", "simulated")
CLIENTS, REQUESTS, TRIALS, TURNS = 6, 300, 5, 200
COOLDOWN_S = 30  # as in the topologies of this repository
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Setting:
    """One row: a setting in the gateway's environment or at its deployment."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    deployment: Mapping[str, Any] = field(default_factory=dict)


NOTHING = Setting("nothing")
CLOSE = Setting(
    "deployment: `extra_headers: {Connection: close}`", deployment={"extra_headers": {"Connection": "close"}}
)
NO_POOL = Setting(
    "environment: `AIOHTTP_KEEPALIVE_TIMEOUT=0`", environment={"AIOHTTP_KEEPALIVE_TIMEOUT": "0"}
)
SETTINGS = (NOTHING, CLOSE, NO_POOL)


@dataclass(frozen=True)
class Leak:
    """The result of one trial: requests answered by the engine, and by the next tier."""

    own: int
    leaked: int
    failed: int

    @property
    def requests(self) -> int:
        return self.own + self.leaked + self.failed


class Gateway:
    """A LiteLLM with one setting in front of the engine and the next tier."""

    def __init__(
        self, folder: Path, setting: Setting, ports: Mapping[str, int], ends: contextlib.ExitStack
    ) -> None:
        self.name = setting.name
        self._port = free_port(random.Random())
        folder.mkdir()
        config = folder / "litellm.yaml"
        config.write_text(yaml.safe_dump(self._configuration(setting, ports)))
        self.topology = folder / "topology.yaml"
        self.topology.write_text(yaml.safe_dump(self._topology()))
        with (folder / "litellm.log").open("wb") as log:
            env = {**os.environ, **gateway.ENVIRONMENT, **setting.environment}
            command = gateway.command(config, self._port, folder / "litellm.pid")
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        ends.callback(process.wait)
        ends.callback(process.kill)

    def ready(self) -> bool:
        return page.get(f"http://127.0.0.1:{self._port}{gateway.READY}", 5.0).status == 200

    def trial(self, requests: int, clients: int) -> Leak:
        until(self._calm, "the engine serves again", 3 * COOLDOWN_S)
        records = ClientProcess(
            self.topology, [{"stream": True, "repeat": requests}], at_once=clients
        ).records(600)
        tiers = [r["tier"] if r["outcome"] == "ok" else None for r in records]
        return Leak(tiers.count(OWN), tiers.count(NEXT), tiers.count(None))

    def plain_s(self, connection: http.client.HTTPConnection) -> float:
        """Seconds of one plain request for one token, on the client's own kept connection."""
        began = time.monotonic()
        assert self._answerer(connection) == OWN
        return time.monotonic() - began

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)

    def _calm(self) -> bool:
        """Whether no deployment is cooled down."""
        with contextlib.closing(self.connection()) as connection:
            return self._answerer(connection) == OWN

    def _answerer(self, connection: http.client.HTTPConnection) -> str | None:
        """The group that answers one plain request for one token; None: none."""
        prompt = f"{secrets.token_hex(4)} Count."
        body = {"model": OWN, "max_tokens": 1, "messages": [{"role": "user", "content": prompt}]}
        key = os.environ["LITELLM_MASTER_KEY"]
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.headers["x-litellm-model-group"] if answer.status == 200 else None

    def _topology(self) -> dict[str, Any]:
        found = {"url": f"http://127.0.0.1:{self._port}", "model": OWN, "api_key": "${LITELLM_MASTER_KEY}"}
        return {"gateway": found, "tiers": [{"name": name, "match": {"group": name}} for name in (OWN, NEXT)]}

    @staticmethod
    def _configuration(setting: Setting, ports: Mapping[str, int]) -> dict[str, Any]:
        usual = {"model": "openai/m", "api_key": "none", "timeout": 120}
        return {
            "model_list": [
                {"model_name": name, "litellm_params": usual | {"api_base": f"http://127.0.0.1:{port}/v1"}
                 | (dict(setting.deployment) if name == OWN else {})}
                for name, port in ports.items()
            ],
            "litellm_settings": {"request_timeout": 120, "num_retries": 0, "telemetry": False},
            "router_settings": {"fallbacks": [{OWN: [NEXT]}], "allowed_fails": 1, "cooldown_time": COOLDOWN_S},
            "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        }  # fmt: skip


@contextlib.contextmanager
def gateways(folder: Path, engine: str, settings: Sequence[Setting]) -> Iterator[list[Gateway]]:
    """One for each setting, once all of them answer."""
    os.environ["LITELLM_MASTER_KEY"] = f"sk-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as ends:
        held = {name: Reserved() for name in (OWN, NEXT)}
        ports = {name: port.port for name, port in held.items()}
        simulated = [sys.executable, "-m", "embedded.engine", "--personality", "vllm", "--model", "m"]
        quick = ["--time-to-first-token", "10ms", "--inter-token-latency", "2ms"]
        own = (
            [str(PYTHON), "-m", "embedded.llamacpp", "--models", str(MODELS), "--model", "m", "--slots", "4"]
            if engine == "llamacpp"
            else [*simulated, *quick, "--after-stream", "close"]
        )
        for name, argv in ((OWN, own), (NEXT, [*simulated, *quick])):
            process = subprocess.Popen(
                [*argv, "--port", str(ports[name])], cwd=ROOT, stderr=(folder / f"{name}.log").open("wb")
            )
            ends.callback(process.wait)
            ends.callback(process.kill)
        found = [Gateway(folder / f"gateway-{n}", setting, ports, ends) for n, setting in enumerate(settings)]
        for one in found:
            until(one.ready, "the gateway is up", 300)
            until(one._calm, "the engine serves", 120)
        yield found


def leaks(
    found: Sequence[Gateway], trials: int, requests: int = REQUESTS, clients: int = CLIENTS
) -> list[list[Leak]]:
    """The trials of each gateway. The gateways take turns, and each begins a turn equally often."""
    given: list[list[Leak]] = [[] for _ in found]
    for n in range(trials):
        for k in range(len(found)):
            which = (n + k) % len(found)
            given[which].append(found[which].trial(requests, clients))
            print(f"trial {n + 1}: {found[which].name}: {given[which][-1]}", file=sys.stderr, flush=True)
    return given


def costs(found: Sequence[Gateway], turns: int) -> list[list[float]]:
    """For each gateway but the first: seconds that its request took longer than the first's in the same turn."""
    connections = [one.connection() for one in found]
    given: list[list[float]] = [[] for _ in found[1:]]
    for n in range(turns):
        order = [(n + k) % len(found) for k in range(len(found))]
        took = {which: found[which].plain_s(connections[which]) for which in order}
        for which in range(1, len(found)):
            given[which - 1].append(took[which] - took[0])
    return given


def row(setting: Setting, given: Sequence[Leak]) -> str:
    """Requests of one trial are not independent (a cooldown lasts), so the trials are listed beside the interval."""
    n, leaked, failed = (
        sum(getattr(one, what) for one in given) for what in ("requests", "leaked", "failed")
    )
    share, low, high = wilson(leaked / n, n, Z)
    each = ", ".join(str(one.leaked) for one in given)
    between = f"{max(low, 0.0):.1%} to {high:.1%}"
    return f"| {setting.name} | {leaked} of {n} | {share:.1%} ({between}) | {each} | {failed} |"


def cost_row(setting: Setting, more_s: Sequence[float]) -> str:
    bounds = median_interval(more_s)
    within = "" if bounds is None else f" ({bounds[0] * 1000:+.2f} to {bounds[1] * 1000:+.2f} ms)"
    return f"| {setting.name} | {median(more_s) * 1000:+.2f} ms{within} | {len(more_s)} |"


def main() -> int:
    line = Parser(prog="python -m benchmarks.kept_connections", description=__doc__,
                  formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    line.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    line.add_argument(
        "--trials", type=count_from(1), default=TRIALS, help=f"of each setting (default {TRIALS})"
    )
    line.add_argument("--turns", type=count_from(1), default=TURNS, help=f"of the cost (default {TURNS})")
    given = line.parse_args()
    with tempfile.TemporaryDirectory() as folder, gateways(Path(folder), given.engine, SETTINGS) as found:
        print("| set | answered by the next tier | share (95 %, Wilson) | in each trial | failed |")
        print("| --- | --- | --- | --- | --- |")
        for setting, trials in zip(SETTINGS, leaks(found, given.trials), strict=True):
            print(row(setting, trials), flush=True)
        print("\n| set | a plain request takes longer by (median, 95 %) | n |\n| --- | --- | --- |")
        for setting, more_s in zip(SETTINGS[1:], costs(found, given.turns), strict=True):
            print(cost_row(setting, more_s), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
