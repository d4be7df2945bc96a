"""Runs a ramp in a separate process: JSON on stdin, its result as JSON on stdout.

Importing Locust patches the standard library, which must not happen in the test process.
"""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path

import gevent
from locust import events
from locust.env import Environment

from scenarios.chat import ChatUser
from scenarios.gateway.arrivals import parse
from scenarios.gateway.open_loop import open_loop
from scenarios.gateway.recording import Memory, Recording
from scenarios.gateway.user_context import DEADLINES
from scenarios.shapes import ramp
from tests.scenarios.user_contexts import user_context


def ramped(gateway: str, folder: str, options: list[str]) -> dict[str, object]:
    ramp.LEAST_REQUESTS = 1
    parser = ArgumentParser()
    events.init_command_line_parser.fire(parser=parser)
    shape = ramp.Ramp()
    shape.read(parser.parse_args(options))
    environment = Environment(user_classes=[open_loop([ChatUser])], stop_timeout=5)
    runner = environment.create_local_runner()
    shape.runner = runner
    environment.brownout = found = user_context(
        gateway, arrivals=parse(shape.arrivals), factor=shape.factor, deadlines=DEADLINES
    )
    recording = Recording(lambda: runner.user_count, found, Path(folder), Memory(), print)
    shape.prepare(found)
    running = gevent.spawn(shape.run, found, Path(folder), lambda: None)
    runner.spawn_users({"OpenLoopUser": 1}, wait=False)
    running.get()
    runner.stop()
    recording.close()
    text, code = shape.conclusion()
    return {"text": text, "code": code}


if __name__ == "__main__":
    print(json.dumps(ramped(**json.load(sys.stdin))))
