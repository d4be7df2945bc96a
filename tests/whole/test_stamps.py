"""How accurate the times of our records are: first tokens and gaps against the ledger's, stream by stream.

The ledger's times are taken just before each write, on the same machine's monotonic clock. How late ours are is
printed and not asserted, because it depends on the machine. Asserted: none is early, and none is missing.
"""

import itertools

import pytest

from contract.run import read_arrow
from contract.schemas import REQUESTS
from tests.embedded.engine import running
from tests.whole.direct_load import direct_load

TOKENS = 32
# Two processes anchor their clocks to the wall clock apart; the ledger rounds to microseconds.
CLOCKS_MS = 1.0


@pytest.mark.parametrize(
    ("loop", "requests"),
    [("closed", 100), *(pytest.param(loop, 1_000, marks=pytest.mark.verify) for loop in ("closed", "open"))],
)
def test_no_token_is_stamped_before_it_was_written_and_none_is_missing(tmp_path, loop, requests):
    # 32 tokens take 0.7 s: fifty streams at once are seventy a second.
    how = {"users": 50} if loop == "closed" else {"arrivals": "poisson:70/s"}
    with running("vllm", tmp_path) as engine:
        _, run = direct_load(tmp_path, {"vllm": engine.port}, requests=requests, max_tokens=TOKENS, **how)
        entries = {e.nonce: e for e in engine.entries()}
    records = read_arrow(run / "requests.arrow", REQUESTS)[0].to_pylist()
    assert len(records) >= requests
    first_ms, gap_ms, arrival_ms, late_ms = [], [], [], []
    for record in records:
        entry = entries[record["request_id"]]
        assert record["outcome"] == "ok"
        assert len(record["gaps_ms"]) + 1 == len(entry.chunks) == record["output_tokens"] == TOKENS
        at = record["sent_at"] * 1000 + record["ttft_ms"]
        seen = [at, *(at + gap for gap in itertools.accumulate(record["gaps_ms"]))]
        behind = [ours - theirs * 1000 for ours, theirs in zip(seen, entry.chunks, strict=True)]
        assert min(behind) > -CLOCKS_MS, f"{record} was stamped before {entry} was written"
        first_ms.append(behind[0])
        gaps = (1000 * (b - a) for a, b in itertools.pairwise(entry.chunks))
        gap_ms += [ours - theirs for ours, theirs in zip(record["gaps_ms"], gaps, strict=True)]
        arrival_ms.append((entry.arrived_at - record["sent_at"]) * 1000)
        late_ms.append((record["sent_at"] - record["scheduled_at"]) * 1000)
        assert arrival_ms[-1] > -CLOCKS_MS, "a request arrived before it was sent"
        assert record["latency_ms"] >= sum(record["gaps_ms"]) + record["ttft_ms"] - 0.01
        assert late_ms[-1] >= 0
    print(f"\n{loop} loop, {len(records)} streams of {TOKENS} tokens; recorded minus ledger, in ms")
    for name, found in (
        ("first token", first_ms), ("gap", gap_ms), ("sent → arrived", arrival_ms), ("scheduled → sent", late_ms),
    ):  # fmt: skip
        print(f"{name:>16}: {quantiles(found)}")


def quantiles(found: list[float]) -> str:
    found = sorted(found)
    return ", ".join(
        f"{name} {found[min(len(found) - 1, int(q * len(found)))]:.2f}"
        for name, q in (("least", 0), ("p1", 0.01), ("p50", 0.5), ("p99", 0.99), ("most", 1))
    )
