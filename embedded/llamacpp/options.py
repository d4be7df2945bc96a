"""The command line of the real engine, checked before anything is opened. Asks for no package that only it needs."""

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
    """What the model is called; llama.cpp answers to any name."""
    slots: int
    context: int
    """Tokens, of all slots together."""
    sse_ping_interval: float
    """Seconds."""
    eos_bias: float
    seed: int
    models: Path
    pidfile: Path | None


def parse(argv: Sequence[str]) -> Options:
    """Exits with 64 where something is wrong, and says what would be right."""
    line = Parser(
        prog="python -m embedded.llamacpp",
        description="llama.cpp's own server on one port of 127.0.0.1, with a small model of random weights.",
    )  # fmt: skip
    add = line.add_argument
    add("--port", required=True, type=count_from(1), help="on 127.0.0.1; replicas may share it")
    add("--model", default="random", help="what the model is called")
    add(
        "--slots",
        type=count_from(1),
        default=4,
        help="requests answered side by side; others wait (default 4)",
    )
    add("--context", type=count_from(1), default=32768, help="tokens, divided by the slots (default 32768)")
    add(
        "--sse-ping-interval",
        type=_whole_seconds,
        default=30.0,
        help="a silent stream says that it lives so often, and so late it sees that the server has gone (default 30s)",
    )
    add(
        "--eos-bias",
        type=_bias,
        default=-8.0,
        help="how readily an answer ends of its own accord; higher: shorter; by default never",
    )
    add("--seed", type=int, default=0, help="of the model's weights (default 0)")
    add("--models", type=Path, metavar="FOLDER", required=True, help="where the model's file is kept")
    add("--pidfile", type=Path, metavar="PATH", help="where its own pid is written when it starts")
    return Options(**vars(line.parse_args(argv)))


def _whole_seconds(text: str) -> float:
    value = duration_s(text)
    if value < 1 or value % 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not one second or more, in whole seconds")
    return value


def _bias(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -100 <= value <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from -100 to 100")
    return value
