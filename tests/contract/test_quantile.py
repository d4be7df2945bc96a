"""A quantile is the same number wherever it is reported: page, table, ramp, client's watch, failover demo, comparison."""

import random

import numpy as np
import pandas as pd
import pytest

from analysis import frames
from analysis.columnar.lists import Gaps
from analysis.compare import bootstrap
from analysis.compare.samples import touched_bounds
from analysis.metrics import chunks, latency, quantiles
from chaos.watch.lineup import Lineup
from chaos.watch.summary import Tally
from contract import quantile
from contract.records import GATEWAY, Lane, Outcome, RequestRecord
from contract.run import read_arrow
from contract.schemas import REQUESTS
from scenarios.gateway.ramp.knee import summarise
from tests.synthetic import make

SHARES = (0.5, 0.95, 0.99)


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([], 0.99, None),
        ([7.0], 0.5, 7.0),
        ([1.0, 2.0], 0.5, 2.0),  # between two: the higher one
        ([1.0, 2.0, 10.0], 0.5, 2.0),
        ([*range(1, 101)], 0.99, 100),  # ⌈98.01⌉: of a hundred values p99 is the slowest
        ([*range(1, 102)], 0.99, 100),
        ([*range(1, 21)], 0.95, 20),
        ([*range(1, 22)], 0.95, 20),
        ([3.0, 1.0, 2.0], 0.0, 1.0),
        ([3.0, 1.0, 2.0], 1.0, 3.0),
    ],
)
def test_a_quantile_is_an_observed_value_at_its_rank_or_the_next_above(values, share, found):
    assert quantile.quantile(values, share) == found


@pytest.mark.parametrize(("share", "n"), [(0.5, 3), (0.95, 21), (0.99, 101)])
def test_the_least_number_of_values_below_the_maximum(share, n):
    assert quantile.needs(share) == n
    assert quantile.rank(n, share) < n - 1
    assert quantile.rank(n - 1, share) == n - 2


@pytest.mark.parametrize("share", [*SHARES, 0.07, 0.9, 0.999])
def test_no_rank_is_off_by_one_for_a_rounded_product(share):
    per_mille = round(share * 1000)
    assert all(quantile.rank(n, share) == -(-per_mille * (n - 1) // 1000) for n in range(1, 20_000))


@pytest.mark.parametrize("seed", range(30))
def test_every_wing_finds_the_same_quantile(seed):
    some = random.Random(seed)
    n = some.choice([1, 2, 3, 19, 20, 21, 99, 100, 101, 102, 640])
    values = [float(np.float32(some.lognormvariate(5, 1))) for _ in range(n)]
    right = {f"p{share * 100:g}": quantile.quantile(values, share) for share in SHARES}
    of_analysis = quantiles.quantiles(pd.Series(values))
    assert {name: of_analysis[name] for name in right} == right
    assert [quantiles.quantile(np.array(values), s) for s in SHARES] == list(right.values())
    assert [np.quantile(values, s, method="higher") for s in SHARES] == list(right.values())
    assert _of_gaps(values) == right
    drawn = bootstrap.resampled_quantiles(np.array(values), np.zeros(n, dtype=int), SHARES, seed=0)
    assert [set(d) for d in drawn] == [{v} for v in right.values()], "one block, drawn again: the same values"
    for touched in (0, 5):  # as many more that took no time, and as many that never ended
        bounds = touched_bounds(np.sort(values), touched, 0.95)
        endless = quantile.quantile([*values, *[np.inf] * touched], 0.95)
        assert bounds == (
            quantile.quantile([*[0.0] * touched, *values], 0.95), None if endless == np.inf else endless
        )  # fmt: skip
    assert _of_watch(values) == (right["p95"] if n >= quantile.needs(0.95) else None)
    step = summarise(1.0, 60.0, n, 0, 0, 1e9, [_streamed(v) for v in values], [])
    assert (step.ttft_p50_ms, step.ttft_p99_ms) == (pytest.approx(right["p50"]), pytest.approx(right["p99"]))


def _of_gaps(values):
    """As many numbers are counted that nobody should sort."""
    requests = pd.DataFrame({"good": [True], "stream": [True], "touched": [False]})
    requests["gaps_ms"] = pd.Series(
        Gaps.one_after_another(np.array([len(values)]), np.array(values, dtype="float32")),
        index=requests.index,
    )
    found = chunks.chunk_gaps(requests).ms
    return {name: found[name] for name in ("p50", "p95", "p99")}


def _of_watch(values):
    tally = Tally(Lineup([["vllm"]]), 3.0, 0.0)
    for i, ms in enumerate(values):
        tally.ended(
            RequestRecord(
                request_id=f"req-{i}", scenario="watch", lane=Lane.LOAD, via=GATEWAY, stream=False, scheduled_at=0.0,
                sent_at=0.0, latency_ms=ms, ttft_ms=ms, outcome=Outcome.OK, tier="vllm", status=200,
            )
        )  # fmt: skip
    (share,) = tally.summary(10.0, 0).tiers
    return share.p95_ms


def _streamed(ms):
    return {"outcome": Outcome.OK, "scheduled_at": 0.0, "sent_at": 0.0, "ttft_ms": ms, "latency_ms": ms, "stream": True,
            "output_tokens": 1}  # fmt: skip


@pytest.mark.parametrize("count", [100, 101, 640])
def test_a_ramp_and_its_own_report_agree_to_the_last_digit(tmp_path, count):
    made = make(tmp_path, rate=12, pairs=0, probe_rate=0, duration_s=80)
    records = read_arrow(made.path / "requests.arrow", REQUESTS)[0].to_pylist()[:count]
    assert len(records) == count
    step = summarise(12.0, 80.0, count, 0, 0, 2000.0, records, [])
    requests = frames.read(made.path).requests.iloc[:count]
    found = quantiles.quantiles(latency.first_token_ms(requests[requests["stream"]], of="scheduled"))
    assert (step.ttft_p50_ms, step.ttft_p99_ms) == (found["p50"], found["p99"])
