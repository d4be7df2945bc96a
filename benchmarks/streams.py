"""The cost of a stream, and the error of its TTFT: the harness and other clients, in turn, in one run.

python -m benchmarks.streams [--rounds 3] [--only burst,paced,many] [--clients floor,harness]

Each client is a process on one core, the truth server has another. CPU is the client's own; the error of a TTFT is the
instant of the first token reported by the client, less the instant right before the server wrote it. Ratios
are taken within a round, and the median round is printed.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.metrics.overload import overloaded_seconds
from benchmarks.client import WARM_S
from benchmarks.truth import Mode, TruthServer
from contract.command_line import Parser, count_from
from contract.quantile import quantile

ROOT = Path(__file__).parent.parent
CLIENTS = {
    "floor": ("clients_asyncio", "bare asyncio.Protocol, no JSON (floor)"),
    "bare": ("clients_gevent", "bare gevent socket, no JSON"),
    "bare_json": ("clients_gevent", "bare gevent socket, JSON for each event"),
    "harness": ("clients_gevent", "the harness: user, request, record, Locust statistics"),
    "fast_http_user": ("clients_gevent", "FastHttpUser, iter_lines, JSON"),
    "http_user": ("clients_gevent", "HttpUser, iter_lines, JSON"),
    "aiohttp": ("clients_asyncio", "aiohttp, JSON"),
}


@dataclass(frozen=True)
class Case:
    """One kind of load. `streams`: concurrent, over all `processes`."""

    title: str
    mode: Mode
    streams: int
    seconds: float
    clients: tuple[str, ...] = tuple(CLIENTS)
    processes: int = 1

    @property
    def over_s(self) -> float:
        """Duration of one stream: the starts are spread over it, so that streams do not synchronise."""
        return (self.mode.after_ms + self.mode.tokens * self.mode.every_ms) / 1000


PACED = Mode(tokens=32, every_ms=10, after_ms=50)
FEW = ("floor", "bare", "harness", "fast_http_user")
CASES = {
    "burst": Case("32 tokens at once, 16 streams", Mode(32, 0, 10), 16, 2.0),
    "paced": Case("32 tokens 10 ms apart, 64 streams", PACED, 64, 3.0),
    "many": Case("32 tokens 10 ms apart, 512 streams", PACED, 512, 4.0, FEW),
    "two": Case("the same 512 from two processes, the second on the core of the truth server", PACED, 512, 4.0, ("harness",), 2),
}  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """The figures of one client in one round."""

    cpu_ms: float  # per stream
    rate: float  # streams per second
    core: float  # share of a core
    error_p50_ms: float
    error_p99_ms: float
    server: float  # the truth server's share of a core
    overloaded: str


def main() -> int:
    parser = Parser(
        prog="python -m benchmarks.streams",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=count_from(1), default=3)
    parser.add_argument("--only", default=",".join(CASES), help="of these")
    parser.add_argument("--clients", default=",".join(CLIENTS), help="of these")
    args = parser.parse_args()
    print(machine())
    for name in args.only.split(","):
        case = CASES[name]
        compare(case, [c for c in args.clients.split(",") if c in case.clients], args.rounds)
    return 0


def compare(case: Case, clients: list[str], rounds: int) -> None:
    found: dict[str, list[Figures]] = {c: [] for c in clients}
    for _ in range(rounds):
        for client in clients:
            found[client].append(figures(case, client))
    print(f"\n{case.title}, median of {rounds}\n")
    against = [c for c in ("floor", "bare", "bare_json", "fast_http_user") if c in clients]
    print(
        "| client | CPU ms per stream | "
        + "".join(f"÷ {c} | " for c in against)
        + "streams/s | core | TTFT error p50 | p99, ms | server's core | overloaded |"
    )
    print("| --- " * (8 + len(against)) + "|")
    for client in clients:
        rows = found[client]
        ratios = [
            statistics.median(a.cpu_ms / b.cpu_ms for a, b in zip(rows, found[other], strict=True))
            for other in against
        ]
        middle = {
            name: statistics.median(getattr(r, name) for r in rows)
            for name in Figures.__annotations__
            if name != "overloaded"
        }
        print(
            f"| {CLIENTS[client][1]} | {middle['cpu_ms']:.3f} | "
            + "".join(f"{r:.2f} | " for r in ratios)
            + f"{middle['rate']:.0f} | {middle['core']:.0%} | {middle['error_p50_ms']:.2f} | {middle['error_p99_ms']:.2f} | "
            f"{middle['server']:.0%} | {' '.join(r.overloaded for r in rows)} |",
            flush=True,
        )


def figures(case: Case, client: str) -> Figures:
    """One client's turn."""
    here, there = cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with TruthServer(folder, core=there) as truth:
            url = truth.url + case.mode.path
            running = [
                _start(case, client, number, url, folder / str(number), (here, there)[number % 2])
                for number in range(case.processes)
            ]
            reports = [_report(client, process) for process in running]
            server_s = truth.cpu_s()
        ledger = truth.ledger()
    errors_ms, seconds = [], []
    for report in reports:
        assert report["found"], f"{client} has no answer"
        assert not report.get("bad"), report["bad"]
        errors_ms += [(at - ledger[name].sent_at[0]) * 1000 for name, at in report["found"]]
        seconds += report.get("client", [])
    p50, p99 = (quantile(errors_ms, share) for share in (0.5, 0.99))
    assert p50 is not None
    assert p99 is not None
    late = len(overloaded_seconds(pd.DataFrame(seconds))) if seconds else 0
    cpu_s, wall_s = sum(r["cpu_s"] for r in reports), max(r["wall_s"] for r in reports)
    return Figures(
        cpu_s * 1000 / len(errors_ms), len(errors_ms) / wall_s, cpu_s / wall_s, p50, p99,
        server_s / (wall_s + WARM_S + case.over_s), f"{late}/{len(seconds)} s" if seconds else "",
    )  # fmt: skip


def _start(
    case: Case, client: str, number: int, url: str, folder: Path, core: int
) -> "subprocess.Popen[str]":
    folder.mkdir()
    given = {
        "url": url, "streams": case.streams // case.processes, "tokens": case.mode.tokens, "seconds": case.seconds,
        "over": case.over_s, "folder": folder, "prefix": f"be9c{number:02x}",
    }  # fmt: skip
    argv = [sys.executable, "-m", f"benchmarks.{CLIENTS[client][0]}", client]
    argv += [word for name, value in given.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(process.pid, [core])
    return process


def _report(client: str, process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    process.kill()
    process.wait()
    if not line:
        raise SystemExit(f"{client} printed nothing")
    return json.loads(line)


def machine() -> str:
    """The machine of the figures."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    return (
        f"{len(os.sched_getaffinity(0))} cores, {model[1] if model else 'model unknown'}, Linux {platform.release()}, "
        f"Python {platform.python_version()}; load average before it {load}"
    )


def cores() -> tuple[int, int]:
    """The client's and the server's; the same if the machine has only one."""
    there, *_, here = sorted(os.sched_getaffinity(0)) * 2
    return here, there


if __name__ == "__main__":
    sys.exit(main())
