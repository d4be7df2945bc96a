"""The cost of a record: made, batched, written; how long the writer holds the hub; bytes per record.

python -m benchmarks.records
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from contract.clock import Clock
from contract.records import GATEWAY, Lane, RequestRecord
from contract.run import ArrowFile
from contract.schemas import REQUESTS
from scenarios.gateway.recorder import Recorder

TOKENS = 32
RATES = (5, 50, 500)
SECONDS = 20  # of records
BUSY = 5000  # records in one second


class Timed:
    """An ArrowFile that measures how long each append held its caller."""

    def __init__(self, path: Path) -> None:
        self._file = ArrowFile(path, REQUESTS)
        self.held_s: list[float] = []

    def append(self, records: Sequence[RequestRecord]) -> None:
        before = time.process_time()
        self._file.append(records)
        self.held_s.append(time.process_time() - before)

    def close(self) -> None:
        self._file.close()


def main() -> int:
    print("| requests/s | bytes per record, streamed (32 tokens) | plain |\n| --- | --- | --- |")
    for rate in RATES:
        streamed, plain = (write(rate, SECONDS, stream)[0] for stream in (True, False))
        print(f"| {rate} | {streamed:.0f} | {plain:.0f} |")
    runs = [write(BUSY, 4, True) for _ in range(5)]
    print(
        f"\nmade, batched and written: {statistics.median(r[1] for r in runs) * 1e6:.1f} µs a record (CPU, streamed)"
    )
    print(
        f"the writer at {BUSY} records/s: longest hold {statistics.median(r[2] for r in runs) * 1000:.1f} ms (CPU)"
    )
    return 0


def write(rate: int, seconds: int, stream: bool) -> tuple[float, float, float]:
    """Bytes a record, CPU seconds a record, longest hold in CPU seconds; flushed `rate` at a time."""
    with tempfile.TemporaryDirectory() as folder:
        path, clock = Path(folder) / "requests.arrow", Clock()
        file = Timed(path)
        recorder = Recorder(file, sys.exit)
        began_s = time.process_time()
        for second in range(seconds):
            for number in range(rate):
                recorder.keep(record(second * rate + number, stream, clock))
            recorder.flush()
        used_s = time.process_time() - began_s
        recorder.close()
        return path.stat().st_size / (rate * seconds), used_s / (rate * seconds), max(file.held_s)


def record(number: int, stream: bool, clock: Clock) -> RequestRecord:
    at = clock.now()
    return RequestRecord(
        request_id=f"req-be9c00-{number:06x}", scenario="chat", lane=Lane.LOAD, via=GATEWAY, stream=stream,
        scheduled_at=at, sent_at=at, outcome="ok", status=200, headers_ms=50.3, ttft_ms=51.2,
        gaps_ms=[10.0 + number % 7 / 10] * (TOKENS - 1) if stream else [], latency_ms=380.0, tier="vllm",
        route_group="vllm-qwen", route_fallbacks=0, route_retries=0, prompt_tokens=61, output_tokens=TOKENS,
        max_tokens=TOKENS, finish_reason="length", witness="end",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
