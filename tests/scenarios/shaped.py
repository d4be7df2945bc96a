"""Evaluates shapes in a separate process: cases as JSON on stdin, factors or refusals as JSON on stdout.

Importing Locust patches the standard library, which must not happen in the test process.
"""

import importlib
import json
import sys
from argparse import ArgumentParser

from locust import events
from locust.util.load_locustfile import is_shape_class

from contract.refusal import Refusal


def factors(shape: str, options: list[str], at_s: list[float]) -> list[float] | str:
    module = importlib.import_module(f"scenarios.shapes.{shape}")
    (found,) = [value for value in vars(module).values() if is_shape_class(value)]  # as Locust looks for it
    parser = ArgumentParser()
    events.init_command_line_parser.fire(parser=parser)
    events.init_command_line_parser._handlers.clear()
    made = found()
    try:
        made.read(parser.parse_args(options))
    except Refusal as e:
        return str(e)
    return [made.factor(at) for at in at_s]


if __name__ == "__main__":
    case = json.load(sys.stdin)
    print(json.dumps(factors(*case)))
