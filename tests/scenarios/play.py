"""A Locust run in a process of its own: JSON in on stdin, what was recorded and told as JSON on stdout.

Importing Locust patches the standard library; the process of the tests must stay as it is.
"""

import dataclasses
import json
import sys

import gevent
from locust.env import Environment

from scenarios import chat, direct, overhead
from tests.scenarios.stages import kept, stage

USERS = {"chat": chat.ChatUser, "direct": direct.DirectUser, "overhead": overhead.OverheadUser}


def play(
    gateway: str,
    vllm: str | None,
    users: dict[str, int],
    run_s: float,
    stop_timeout: float | None,
    overhead_left_s: float | None,
) -> dict[str, object]:
    chat.THINK_S = (0.05, 0.05)
    direct.EVERY_S = 0.1
    overhead.PAUSE_S = 0.1
    environment = Environment(user_classes=[USERS[u] for u in users], stop_timeout=stop_timeout)
    environment.brownout = found = stage(gateway, vllm)
    if overhead_left_s is not None:
        found.overhead_until = found.clock.now() + overhead_left_s
    told: list[dict[str, object]] = []

    def listen(request_type, name, response_time, response_length, exception, context, **_):
        told.append({"type": request_type, "name": name, "ms": response_time, "bytes": response_length,
                     "error": str(exception) if exception else None})  # fmt: skip

    environment.events.request.add_listener(listen)
    runner = environment.create_local_runner()
    runner.spawn_users({USERS[u].__name__: count for u, count in users.items()}, wait=False)
    gevent.sleep(run_s)
    users_left = runner.user_count
    runner.stop()
    return {
        "records": [dataclasses.asdict(ask) for ask in kept(found)],
        "told": told,
        "users": users_left,
        "in_flight": found.recorder.tally.snapshot().in_flight,
        "stats": environment.stats.total.num_requests,
        "failures": environment.stats.total.num_failures,
    }


if __name__ == "__main__":
    # Locust's own loggers speak on stderr.
    print(json.dumps(play(**json.load(sys.stdin))))
