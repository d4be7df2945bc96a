"""How true the TTFT is: many streams at once, straight to a simulated engine, each first token against its ledger.

python -m benchmarks.ttft --streams 50 --asks 500
"""

import gevent.monkey

gevent.monkey.patch_all()

import argparse  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import urllib.request  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402

from contract import topology  # noqa: E402
from contract.clock import Clock  # noqa: E402
from contract.records import Ask  # noqa: E402
from embedded.engine.ledger import read  # noqa: E402
from embedded.ports import Reserved  # noqa: E402
from scenarios.gateway.asker import Asker  # noqa: E402
from scenarios.gateway.recorder import Recorder  # noqa: E402
from scenarios.gateway.stage import Stage, endpoints  # noqa: E402

PROMPT = "Count upwards from one in words, without end."
TOPOLOGY = """
gateway: {{url: "{url}", model: tiny}}
tiers: [{{name: vllm, match: {{group: tiny}}, url: "{url}", model: tiny, ignore_eos: true}}]
"""


class Kept(list[Ask]):
    """Takes the records."""

    append = list.extend

    def close(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=50, help="how many at once")
    parser.add_argument("--asks", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=32)
    args = parser.parse_args()
    port = Reserved().port
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.jsonl"
        engine = subprocess.Popen(
            [sys.executable, "-m", "embedded.engine", "--personality", "vllm", "--model", "tiny", "--port", str(port),
             "--ledger", str(ledger)]
        )  # fmt: skip
        try:
            records, cpu_s, wall_s = _ask(f"http://127.0.0.1:{port}", args)
        finally:
            engine.terminate()
            engine.wait()
        entries = {e.nonce: e for e in read(ledger)}
    late_ms = []
    for ask in records:
        assert ask.outcome == "ok", ask.error
        assert ask.sent_at is not None
        assert ask.ttft_ms is not None
        late_ms.append((ask.sent_at - entries[ask.request_id].chunks[0]) * 1000 + ask.ttft_ms)
    p50, p90, p99 = np.percentile(late_ms, (50, 90, 99))
    print(f"{len(records)} streams of {args.tokens} tokens, {args.streams} at once, in {wall_s:.1f} s")
    print(
        f"TTFT, recorded later than the engine wrote the token: p50 {p50:.2f} ms, p90 {p90:.2f} ms, p99 {p99:.2f} ms"
    )
    print(
        f"CPU: {cpu_s * 1000 / len(records):.2f} s per 1000 streams, {100 * cpu_s / wall_s:.0f} % of a core"
    )


def _ask(url: str, args: argparse.Namespace) -> tuple[list[Ask], float, float]:
    _until_up(url)
    found = topology.read_text(TOPOLOGY.format(url=url))
    gateway, tiers = endpoints(found)
    kept = Kept()
    stage = Stage(
        topology=found, recorder=Recorder(kept, print), clock=Clock(), seed=1, prefix="be9c00", gateway=gateway,
        tiers=tiers, max_tokens=args.tokens,
    )  # fmt: skip
    left = args.asks

    def work() -> None:
        nonlocal left
        asker = Asker(stage, "bench", lambda ask, size: None)
        while left > 0:
            left -= 1
            asker.ask(PROMPT, stream=True, via="vllm")

    process = psutil.Process()
    before, began = process.cpu_times(), time.monotonic()
    gevent.joinall([gevent.spawn(work) for _ in range(args.streams)], raise_error=True)
    after, wall_s = process.cpu_times(), time.monotonic() - began
    stage.recorder.flush()
    return kept, after.user + after.system - before.user - before.system, wall_s


def _until_up(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=1).close()
            return
        except OSError:
            gevent.sleep(0.05)
    raise SystemExit("the engine does not start")


if __name__ == "__main__":
    main()
