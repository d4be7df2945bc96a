"""Locust users that send requests directly to the engines of a topology, and a run folder of them; JSON in, JSON out.

Importing Locust patches the standard library; the process of the tests must stay unpatched.
"""

import json
import sys
from pathlib import Path

import gevent
import psutil
from locust import constant_pacing, task
from locust.env import Environment
from locust.exception import StopUser

from contract import topology
from contract.clock import Clock
from contract.request import Request
from contract.run import FINISHED, open_run
from scenarios.gateway.arrivals import parse
from scenarios.gateway.open_loop import open_loop
from scenarios.gateway.prompts import prompt
from scenarios.gateway.recorder import Recorder
from scenarios.gateway.recording import Memory, Recording
from scenarios.gateway.user import GatewayUser
from scenarios.gateway.user_context import UserContext, endpoints

PROMPT_TOKENS = 20


class DirectLoadUser(GatewayUser):
    """Draws an engine for each request, until enough requests were sent."""

    scenario = "direct_load"
    scheduled = 0
    streamed = 1.0  # share of streamed requests

    @task
    def send_one(self) -> None:
        if self.user_context.arrivals is None and self.user_context.recorder.tally.sent >= self.scheduled:
            raise StopUser
        tier = self.random.choice(self.user_context.direct_tiers()).name
        streamed = self.random.random() < self.streamed
        self.send(Request(prompt=prompt(self.random, PROMPT_TOKENS), stream=streamed, via=tier))


def main(
    path: str,
    results: str,
    prefix: str,
    users: int,
    pace_s: float,
    requests: int,
    max_tokens: int,
    streamed: float,
    arrivals: str | None,
) -> dict:
    """Sends `requests` requests: in an open loop with `arrivals`, else by `users`, each every `pace_s`."""
    found, clock = topology.read(Path(path)), Clock()
    found = found.model_copy(update={"gateway": found.gateway.model_copy(update={"max_tokens": max_tokens})})
    gateway, tiers = endpoints(found)
    DirectLoadUser.scheduled, DirectLoadUser.streamed, DirectLoadUser.wait_time = (
        requests,
        streamed,
        constant_pacing(pace_s),
    )
    user_class, count = (DirectLoadUser, users) if arrivals is None else (open_loop([DirectLoadUser]), 1)
    environment = Environment(user_classes=[user_class], stop_timeout=60)
    user_context = environment.brownout = UserContext(
        topology=found, recorder=Recorder(Memory(), print), clock=clock, seed=1, prefix=prefix, gateway=gateway,
        tiers=tiers, arrivals=None if arrivals is None else parse(arrivals),
    )  # fmt: skip
    runner = environment.create_local_runner()
    run = open_run(Path(results), "direct_load", clock.now(), {"topology.yaml": topology.dump(found)}, {}, 1)
    failures: list[str] = []
    recording = Recording(lambda: runner.user_count, user_context, run.path, Memory(), failures.append)
    process, seen = psutil.Process(), []
    began_at = clock.now()
    runner.spawn_users({user_class.__name__: count}, wait=False)
    while runner.user_count and not (arrivals and recording.tally.sent >= requests):
        seen.append((process.num_fds(), process.memory_info().rss / 1e6))
        gevent.sleep(0.5)
    runner.stop()
    ended_at = clock.now()
    recording.close()
    run.close(FINISHED, ended_at, None, recording.tally.snapshot().by_outcome)
    entries = environment.stats.entries.values()
    return {
        "run": str(run.path), "failures": failures, "sent": recording.tally.sent, "seconds": ended_at - began_at,
        "locust_counted": sum(e.num_requests for e in entries if e.method == DirectLoadUser.scenario),
        "cpu_s": sum(process.cpu_times()[:2]), "fds": [n for n, _ in seen], "rss_mb": [m for _, m in seen],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(**json.load(sys.stdin))))
