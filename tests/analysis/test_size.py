"""Runs of many records: the known truth is found, and memory use stays within bounds."""

import os
import subprocess
import sys

import numpy as np
import pytest

from analysis import frames
from analysis.columnar.selection import counted
from analysis.evidence import Evidence
from analysis.metrics import chunks, latency
from analysis.reporting import tables
from tests.synthetic_columns import make_big
from tests.synthetic_world import Hole

HOLES = [
    Hole("gaming-mode", "vllm", 300, 120, hole_s=2.5, sticky_s=12),
    Hole("cpu", "ollama", 360, 30, hole_s=0.5),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = make_big(tmp_path_factory.mktemp("big"), 200_000, 1800, HOLES, pairs=60, overhead_ms=14)
    return Evidence(frames.read(made.path))


def test_every_record_of_a_big_run_is_there_in_the_order_of_its_sending(run):
    requests = run.frames.requests
    assert len(requests) == 200_000
    assert (np.diff(requests["sent_at"]) >= 0).all()
    assert requests["request_id"].is_unique
    assert requests["tier"].dtype == "category"


def test_the_truths_that_were_put_into_a_big_run_are_found_again(run):
    table = tables.failovers(run).set_index("step")
    assert table.loc["gaming-mode", "failover_s"] == pytest.approx(2.5 + 0.15 + 0.25, abs=0.3)
    assert table.loc["cpu", "failover_s"] == pytest.approx(0.5 + 0.15 + 0.35, abs=0.3)
    assert table.loc["gaming-mode", "cuts"] > 5
    assert run.pairs["ttft_ms"].median() == pytest.approx(14, abs=1)
    lower = run.lower
    assert not (lower["why"] == "spurious").any()
    assert (lower.loc[lower["sent_at"] > run.lost_at(run.trials[0]) + 10, "why"] == "needed").mean() > 0.5
    assert len(run.frames.samples["client"]) == 1800


def test_the_gaps_of_a_tier_have_its_time_for_a_token(run):
    requests = run.frames.requests[run.frames.requests["tier"] == "vllm"]
    gaps, every = chunks.chunk_gaps(requests), np.sort(chunks.chunk_gaps_ms(requests))
    assert gaps.n == len(every)
    assert gaps.ms["p50"] == every[int(np.ceil(0.5 * (gaps.n - 1)))] == pytest.approx(20, abs=0.2)
    assert gaps.ms["p99"] == every[int(np.ceil(0.99 * (gaps.n - 1)))]
    assert gaps.ms["max"] == every[-1]
    assert gaps.mean_ms == pytest.approx(every.mean(dtype=float))
    assert latency.tpot_ms(requests).median() == pytest.approx(20, abs=0.3)


@pytest.mark.parametrize("n", [1, 2, 7, 1000, 50_000])
def test_counted_ranks_are_those_of_the_sorted_numbers(n):
    numbers = np.random.default_rng(n).normal(1, 3, n).astype(np.float32)  # negative ones too
    ranks = sorted({0, n // 3, n // 2, n - 1})
    found = counted(lambda: np.array_split(numbers, 3), lambda _: ranks)
    assert found.at == tuple(float(x) for x in np.sort(numbers)[ranks])
    assert found.mean == pytest.approx(float(numbers.mean(dtype=float)))


@pytest.mark.verify
@pytest.mark.timeout(900)
def test_ten_million_records_are_reported_on_within_the_memory_that_the_benchmarks_document(tmp_path):
    from benchmarks.report import made

    child = subprocess.Popen(
        [sys.executable, "-m", "analysis", "report", str(made(tmp_path, 10_000_000)), "--quiet"]
    )
    _, status, used = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 1)
    assert used.ru_maxrss * 1024 < 4e9
