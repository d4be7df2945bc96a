"""How late moves begin while a Locust process keeps a core busy: `late_ms` of a real `python -m chaos run`.

python -m benchmarks.moves --steps 30
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from contract.command_line import Parser, count_from
from contract.quantile import quantile
from tests.chaos.stand import ROOT, Stand

EVERY_S = 2.0
LASTS_S = 0.7
FIRST_AT_S = 5.0
BUSY = """
from locust import User, task
class Busy(User):
    @task
    def burn(self):
        sum(range(200_000))
        self.environment.runner.user_count
"""


def main() -> int:
    parser = Parser(prog="python -m benchmarks.moves", description=__doc__)
    parser.add_argument("--steps", type=count_from(1), default=30, help="two moves each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for busy in (False, True):
            late_ms = _run(Path(folder) / str(busy), args.steps, busy)
            p99 = quantile(late_ms, 0.99)
            print(
                f"{'a busy Locust beside it' if busy else 'an idle machine':<24} {len(late_ms)} moves, late_ms: "
                f"median {statistics.median(late_ms):.2f}, p99 {p99:.2f}, most {max(late_ms):.2f}",
                flush=True,
            )
    return 0


def _run(folder: Path, steps: int, busy: bool) -> list[float]:
    folder.mkdir()
    stand = Stand(folder)
    target = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    stand.pidfile.write_text(str(target.pid))
    locust = _busy(folder) if busy else None
    try:
        topology = stand.write_topology()
        (folder / "moves.yaml").write_text(_timeline(steps))
        run = folder / "run"
        run.mkdir()
        argv = ["--topology", str(topology), "--timeline", str(folder / "moves.yaml"), "--run", str(run)]
        env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        subprocess.run(
            [sys.executable, "-m", "chaos", "run", *argv],
            cwd=ROOT,
            env=env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        events = [json.loads(line) for line in (run / "chaos.jsonl").read_text().splitlines()]
    finally:
        for process in (target, locust):
            if process is not None:
                process.kill()
                process.wait()
        stand.close()
    return [e["late_ms"] for e in events if e["stage"] == "begin" and e["late_ms"] is not None]


def _busy(folder: Path) -> "subprocess.Popen[bytes]":
    (folder / "busy.py").write_text(BUSY)
    return subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(folder / "busy.py"), "--headless", "--users", "20", "--spawn-rate", "20",
         "--host", "http://127.0.0.1:9", "--loglevel", "ERROR"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _timeline(steps: int) -> str:
    lines = ["hypothesis: moves are on time", "baseline: 0s", "settle: 0s", "max: 30m", "steps:"]
    for n in range(steps):
        at_ms = round((FIRST_AT_S + n * EVERY_S) * 1000)
        lines.append(
            f"  - {{name: move-{n}, at: {at_ms}ms, for: {round(LASTS_S * 1000)}ms, fault: process_freeze, target: vllm}}"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
