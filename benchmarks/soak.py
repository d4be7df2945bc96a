"""Memory of the load generator over hours of load directly against the truth server, measured once a minute.

python -m benchmarks.soak --minutes 60 --rate 200

Printed and written to --out, once a minute: resident memory of the Locust process, the CPU it has used, the size of its
records; at the end, what it grew by from the tenth minute to the last. Locust's own summary is in the .log beside it.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

import psutil

from benchmarks.truth import Mode, TruthServer
from contract.command_line import Parser, count_from

ROOT = Path(__file__).parent.parent
MODE = Mode(tokens=10, every_ms=10, after_ms=50)
PLAIN = 0.3
EVERY_S = 0.5  # between requests of one user
WARM_MINUTES = 10  # by then Locust's histograms and the allocator have their final size


def main() -> int:
    parser = Parser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=count_from(1), default=60)
    parser.add_argument("--rate", type=count_from(1), default=200, help="requests a second")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "soak_memory.csv")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return _soak(Path(folder), args)


def _soak(folder: Path, args: argparse.Namespace) -> int:
    users = max(1, round(args.rate * EVERY_S))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    log_path = args.out.with_suffix(".log")
    with (
        TruthServer(folder, ledger=False) as truth,
        open(args.out, "w", newline="") as out,
        open(log_path, "wb") as log,
    ):
        locust = subprocess.Popen(
            [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks/load.py"), "--headless", "--only-summary",
             "--loglevel", "WARNING", "--users", str(users), "--spawn-rate", str(users), "--stop-timeout", "10",
             "--url", truth.url + MODE.path, "--folder", str(folder / "run"), "--tokens", str(MODE.tokens),
             "--every", str(EVERY_S), "--over", str(EVERY_S), "--plain", str(PLAIN)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            writer = csv.writer(out)
            writer.writerow(["minute", "rss_mb", "cpu_s", "requests_mb"])
            rss_mb = _watch(locust, folder / "run", args.minutes, writer, out)
        finally:
            locust.terminate()
            locust.wait()
    if len(rss_mb) <= WARM_MINUTES:
        print(f"too short: growth is counted from minute {WARM_MINUTES}")
        return 0
    print(
        f"grew by {rss_mb[-1] - rss_mb[WARM_MINUTES]:.1f} MB from minute {WARM_MINUTES} to {len(rss_mb) - 1}"
    )
    return 0


def _watch(
    locust: "subprocess.Popen[bytes]", run: Path, minutes: int, writer: Any, out: TextIO
) -> list[float]:
    process, began, found = psutil.Process(locust.pid), time.monotonic(), []
    for minute in range(minutes + 1):
        time.sleep(
            max(0.0, began + (minute * 60 or 5) - time.monotonic())
        )  # the first measurement once it runs
        if locust.poll() is not None:
            raise SystemExit(f"Locust has ended, exit code {locust.returncode}; its log is beside --out")
        used = process.cpu_times()
        requests = run / "requests.arrow"
        row = (
            minute, round(process.memory_info().rss / 1e6, 1), round(used.user + used.system, 1),
            round(requests.stat().st_size / 1e6, 2),
        )  # fmt: skip
        writer.writerow(row)
        out.flush()
        print(
            f"minute {row[0]:3}: {row[1]:6.1f} MB resident, {row[2]:7.1f} s of CPU, {row[3]:8.2f} MB of records",
            flush=True,
        )
        found.append(row[1])
    return found


if __name__ == "__main__":
    sys.exit(main())
