"""A ramp in a process of its own: JSON in on stdin, what it found as JSON on stdout.

Importing Locust patches the standard library; the process of the tests must stay as it is.
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
from tests.scenarios.stages import stage


def ramped(gateway: str, folder: str, options: list[str]) -> dict[str, object]:
    ramp.LEAST_REQUESTS = 1
    parser = ArgumentParser()
    events.init_command_line_parser.fire(parser=parser)
    shape = ramp.Ramp()
    shape.read(parser.parse_args(options))
    environment = Environment(user_classes=[open_loop([ChatUser])], stop_timeout=5)
    runner = environment.create_local_runner()
    shape.runner = runner
    environment.brownout = found = stage(
        gateway, arrivals=parse(shape.arrivals), factor=shape.factor, deadlines=DEADLINES
    )
    recording = Recording(lambda: runner.user_count, found, Path(folder), Memory(), print)
    shape.prepare(found)
    walking = gevent.spawn(shape.walk, found, Path(folder), lambda: None)
    runner.spawn_users({"OpenLoopUser": 1}, wait=False)
    walking.get()
    runner.stop()
    recording.close()
    said, code = shape.conclusion()
    return {"said": said, "code": code}


if __name__ == "__main__":
    print(json.dumps(ramped(**json.load(sys.stdin))))
