"""The cost of a report: of runs of 100 thousand, a million and ten million records, each in a new process.

python -m benchmarks.report [--records 10000000]    only these; default 100 k and 1 M
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.streams import machine
from contract.command_line import Parser, count_from
from tests.synthetic import rounds
from tests.synthetic_columns import make_big
from tests.synthetic_world import Hole

EXPECT = {
    "failover": {"step": "gaming-mode", "to": "ollama", "max_s": 5}, "continuity": {"min_good": 0.9},
    "cloud_only_in_need": {}, "overhead": {"max_ms": 100}, "cuts": {"max_per_trial": 1000}, "recovery": {"max_s": 60},
}  # fmt: skip


def main() -> None:
    line = Parser(prog="python -m benchmarks.report", description=__doc__)
    line.add_argument("--records", type=count_from(1), nargs="*", default=[100_000, 1_000_000])
    given = line.parse_args()
    print(machine())
    print(
        "\n| records | made in | report, s | CPU, s | peak memory | exit code |\n| --- " + "| --- " * 5 + "|"
    )
    for records in given.records:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
            print(f"| {records:,} | {' | '.join(_one(Path(folder), records))} |", flush=True)


def made(folder: Path, records: int) -> Path:
    """A run with a fault of two tiers every ten minutes, at 116 requests a second; ten million are a day."""
    duration_s = max(3600.0, records / 10_000_000 * 86_400)
    count = int((duration_s - 400) // 600)
    gone = Hole("gaming-mode", "vllm", 60, 110, hole_s=1.3, sticky_s=12)
    both = Hole("cpu-tier-too", "ollama", 110, 40, hole_s=0.4)
    steps = [*rounds(gone, count, 600), *rounds(both, count, 600)]
    return make_big(folder, records, duration_s, steps, expect=EXPECT).path


def _one(folder: Path, records: int) -> tuple[str, ...]:
    began = time.monotonic()
    run = made(folder, records)
    ready = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "analysis", "report", str(run), "--quiet"], stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    took_s = time.monotonic() - ready
    return (
        f"{ready - began:.0f} s", f"{took_s:.1f}", f"{used.ru_utime + used.ru_stime:.1f}",
        f"{used.ru_maxrss / 2**20:.2f} GiB", str(os.waitstatus_to_exitcode(status)),
    )  # fmt: skip


if __name__ == "__main__":
    main()
