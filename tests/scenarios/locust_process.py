"""Runs scenarios with Locust in a separate process: JSON on stdin; records and reported events as JSON on stdout.

Importing Locust patches the standard library, which must not happen in the test process.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import gevent
import gevent.monkey
from locust.env import Environment
from locust.event import Events
from locust.stats import RequestStats, setup_distributed_stats_event_listeners

import scenarios
from contract.document import read
from scenarios import chat, classify, direct, overhead
from scenarios.gateway.arrivals import open_or_closed, parse
from scenarios.gateway.open_loop import open_loop
from scenarios.gateway.user_context import DEADLINES
from tests.scenarios.user_contexts import kept, user_context

USERS = scenarios.users()
DOCUMENTS = Path(__file__).parents[2] / "scenarios" / "documents"


def _of_a_master(environment: Environment) -> dict[str, object]:
    """The statistics of a master to which a worker reports these."""
    report: dict[str, object] = {}
    sent, heard, master = Events(), Events(), RequestStats()
    setup_distributed_stats_event_listeners(sent, environment.stats)
    setup_distributed_stats_event_listeners(heard, master)
    sent.report_to_master.fire(client_id="w", data=report)
    heard.worker_report.fire(client_id="w", data=report)
    return {
        "stats": master.total.num_requests,
        "failures": master.total.num_failures,
        "rows": [(row.method, row.name, row.num_requests) for row in master.entries.values()],
    }


def run_users(
    gateway: str,
    vllm: str | None,
    users: dict[str, int],
    run_s: float,
    stop_timeout: float | None,
    overhead_left_s: float | None,
    arrivals: str | None,
    max_in_flight: int,
    held_up_s: float,
    patient: bool,
) -> dict[str, object]:
    chat.THINK_S = (0.05, 0.05)
    direct.EVERY_S = 0.1
    overhead.PAUSE_S = 0.1
    classify.PAUSE_S = 0.01
    classes = [USERS[u] for u in users]
    if arrivals is not None:
        opened, stay = open_or_closed(classes)
        classes = [open_loop(opened), *stay]
    environment = Environment(user_classes=classes, stop_timeout=stop_timeout)
    deadlines: dict[str, Any] = {"deadlines": DEADLINES} if patient else {}
    environment.brownout = found = user_context(
        gateway,
        vllm,
        arrivals=arrivals and parse(arrivals),
        max_in_flight=max_in_flight,
        scenario_inputs={"classify": read(DOCUMENTS)} if "classify" in users else {},
        **deadlines,
    )
    if overhead_left_s is not None:
        found.overhead_until = found.clock.now() + overhead_left_s
    reported: list[dict[str, object]] = []

    def listen(
        request_type: str,
        name: str,
        response_time: float,
        response_length: int,
        exception: BaseException | None,
        context: object,
        **_: object,
    ) -> None:
        reported.append({"type": request_type, "name": name, "ms": response_time, "bytes": response_length,
                     "error": str(exception) if exception else None})  # fmt: skip

    environment.events.request.add_listener(listen)
    runner = environment.create_local_runner()
    counts = {USERS[u].__name__: count for u, count in users.items()}
    runner.spawn_users({c.__name__: counts.get(c.__name__, 1) for c in classes}, wait=False)
    gevent.sleep(run_s / 2)
    gevent.monkey.get_original("time", "sleep")(held_up_s)  # blocks the hub
    gevent.sleep(run_s / 2)
    users_left = runner.user_count
    runner.stop()
    tally = found.recorder.tally.snapshot()
    return {
        "records": [dataclasses.asdict(record) for record in kept(found)],
        "reported": reported,
        "users": users_left,
        "in_flight": tally.in_flight,
        "scheduled": tally.scheduled,
        "sent": tally.sent,
        "dropped": tally.dropped,
        "stats": environment.stats.total.num_requests,
        "failures": environment.stats.total.num_failures,
        "mean_ms": environment.stats.total.avg_response_time,
        "rows": [(row.method, row.name, row.num_requests) for row in environment.stats.entries.values()],
        "master": _of_a_master(environment),
    }


if __name__ == "__main__":
    # Locust's own loggers write to stderr.
    print(json.dumps(run_users(**json.load(sys.stdin))))
