"""The command line of the real engine, checked before anything is opened. Imports no package that only the engine needs."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.command_line import Parser, count_from
from embedded.engine.options import duration_s


@dataclass(frozen=True)
class Options:
    port: int
    model: str
    """Model name; llama.cpp accepts any name."""
    slots: int
    context: int
    """Tokens of all slots together."""
    sse_ping_interval: float
    """Seconds."""
    eos_bias: float
    seed: int
    models: Path
    pidfile: Path | None


def parse(argv: Sequence[str]) -> Options:
    """Exits with 64 on an error and states the correct form."""
    line = Parser(
        prog="python -m embedded.llamacpp",
        description="Runs llama.cpp's own server on one port of 127.0.0.1, with a small model of random weights.",
    )  # fmt: skip
    add = line.add_argument
    add("--port", required=True, type=count_from(1), help="port on 127.0.0.1; replicas may share it")
    add("--model", default="random", help="model name (default random)")
    add(
        "--slots",
        type=count_from(1),
        default=4,
        help="requests answered at the same time; others wait (default 4)",
    )
    add(
        "--context",
        type=count_from(1),
        default=32768,
        help="context in tokens, divided among the slots (default 32768)",
    )
    add(
        "--sse-ping-interval",
        type=_whole_seconds,
        default=30.0,
        help="interval of keep-alive comments in a silent stream; after SIGTERM, also how long such a stream stays open"
        " (default 30s)",
    )
    add(
        "--eos-bias",
        type=_bias,
        default=-8.0,
        help="bias of the end-of-answer token; higher: shorter answers (default -8: answers never end by themselves)",
    )
    add("--seed", type=int, default=0, help="random seed of the model's weights (default 0)")
    add("--models", type=Path, metavar="FOLDER", required=True, help="folder for the model file")
    add("--pidfile", type=Path, metavar="PATH", help="file for the server's pid, written at start")
    return Options(**vars(line.parse_args(argv)))


def _whole_seconds(text: str) -> float:
    value = duration_s(text)
    if value < 1 or value % 1:
        raise argparse.ArgumentTypeError(f"'{text}' must be at least one second, in whole seconds")
    return value


def _bias(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -100 <= value <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from -100 to 100")
    return value
