"""Each metric on asks whose number is known."""

import random

import numpy as np
import pandas as pd
import pytest

from analysis import frames, metrics, overhead
from analysis.evidence import Evidence
from contract.records import GATEWAY, Lane, Outcome
from tests.synthetic import OLLAMA, OPENAI, START, VLLM, Hole, World, answer, cut, make, refuse


def world():
    return World((VLLM, OLLAMA, OPENAI), (), random.Random(1))


def asks_of(tmp_path, asks, **more):
    made = make(tmp_path, rate=0, probe_rate=0, pairs=0, extra=asks, duration_s=60, **more)
    return frames.read(made.path).asks


def good(w, at, ttft_s=0.2, gaps_s=(), tier="vllm", **more):
    return answer(w.new(at, more.pop("lane", Lane.LOAD), **more), tier, ttft_s, gaps_s)


@pytest.mark.parametrize("overhead_ms", [0.0, 14.0, 250.0])
def test_the_overhead_that_was_put_in_is_found(tmp_path, overhead_ms):
    run = Evidence(frames.read(make(tmp_path, overhead_ms=overhead_ms, pairs=30, probe_rate=0).path))
    for column in ("ttft_ms", "latency_ms"):
        found = overhead.overhead(run.pairs, column)
        assert found.ms == pytest.approx(overhead_ms, abs=1.5)
        assert found.interval_ms[0] <= overhead_ms <= found.interval_ms[1]


def test_a_slower_first_ask_of_each_pair_leaves_the_overhead(tmp_path):
    run = Evidence(
        frames.read(make(tmp_path, overhead_ms=14, first_slower_ms=80, pairs=31, probe_rate=0).path)
    )
    assert overhead.overhead(run.pairs, "ttft_ms").ms == pytest.approx(14, abs=2)


def pair(w, at, gateway_tier="vllm", direct_ok=True, **route):
    out = []
    for k, via in enumerate((GATEWAY, "vllm", "vllm", GATEWAY)):
        ask = w.new(at + k, Lane.OVERHEAD, via=via, pair="p")
        answer(ask, gateway_tier if via == GATEWAY else "vllm", 0.1)
        for key, value in route.items():
            if via == GATEWAY:
                setattr(ask, key, value)
        out.append(ask if via == GATEWAY or direct_ok else refuse(ask, Outcome.REFUSED, None))
    return out


@pytest.mark.parametrize(
    ("asks", "count"),
    [
        (pair(world(), 5), 1),
        (pair(world(), 5)[:2], 1),  # a pair of two
        (pair(world(), 5)[:3], 0),  # one ask is missing
        (pair(world(), 5, gateway_tier="ollama"), 0),  # another tier served
        (pair(world(), 5, direct_ok=False), 0),
        (pair(world(), 5, route_fallbacks=1), 0),  # a fallback is no overhead
        (pair(world(), 5, route_retries=1), 0),
    ],
)
def test_only_like_pairs_count(tmp_path, asks, count):
    assert len(overhead.pairs_of(asks_of(tmp_path, asks))) == count


def test_continuity_counts_cut_and_abandoned_apart(tmp_path):
    w = world()
    asks = [good(w, i) for i in range(8)]
    asks += [
        refuse(w.new(9, Lane.LOAD), Outcome.TIMEOUT, None),
        refuse(w.new(9, Lane.LOAD), Outcome.REJECTED, 500),
    ]
    asks += [
        cut(good(w, 10, gaps_s=[0.1] * 5), 0.3),
        w.new(11, Lane.LOAD),
    ]  # the last was left alone: abandoned
    asks += [
        good(w, 12, via="vllm"),
        good(w, 12, lane=Lane.PROBE_NEW),
        good(w, 12, lane=Lane.WARMUP),
    ]  # not users'
    found = metrics.continuity(asks_of(tmp_path, asks))
    assert found == metrics.Continuity(metrics.Share(8, 10), cut=1, stalled=0, abandoned=1)
    assert found.good.ratio == 0.8


def test_nothing_asked_has_no_continuity(tmp_path):
    assert metrics.continuity(asks_of(tmp_path, [])).good.ratio is None


def test_latency_from_intended_holds_what_waited_to_be_sent(tmp_path):
    ask = good(world(), 5, 0.2)
    ask.intended_at -= 4.0
    asks = asks_of(tmp_path, [ask])
    assert metrics.latency_ms(asks).iloc[0] == pytest.approx(201)
    assert metrics.latency_ms(asks, of="intended").iloc[0] == pytest.approx(4201, abs=0.1)


def test_tpot_is_the_time_between_tokens_by_the_usage_not_by_the_chunks(tmp_path):
    ask = good(world(), 5, 0.2, [0.1, 0.3])  # three chunks
    ask.output_tokens = 9
    assert metrics.tpot_ms(asks_of(tmp_path, [ask])).tolist() == [pytest.approx(50)]


def test_latency_for_ten_tokens_is_measured_or_said_to_be_estimated(tmp_path):
    w = world()
    exact, longer = good(w, 5, 0.2, [0.1] * 9), good(w, 6, 0.2, [0.1] * 19)
    measured, estimated = metrics.latency_for_tokens_ms(asks_of(tmp_path / "a", [exact, longer]), 10)
    assert (measured.tolist(), estimated) == ([pytest.approx(1101)], False)
    guessed, estimated = metrics.latency_for_tokens_ms(asks_of(tmp_path / "b", [longer]), 10)
    assert (guessed.tolist(), estimated) == ([pytest.approx(1100)], True)


def test_no_token_is_lost_or_invented_when_throughput_is_spread(tmp_path):
    w = world()
    asks = asks_of(tmp_path, [good(w, 3.3 + i * 1.7, 0.2, [0.1] * 9) for i in range(20)])
    edges = np.arange(0, 61, 2.0) + START
    table = metrics.tokens_over_time(asks, ["vllm", "ollama"], edges)
    assert (table["vllm"] * 2).sum() == pytest.approx(200)
    assert table["ollama"].sum() == 0


def test_tokens_a_second_count_only_the_time_in_which_something_was_answered(tmp_path):
    w = world()
    asks = asks_of(
        tmp_path, [good(w, 5, 1.0, [0.999]), good(w, 5.5, 1.0, [0.499]), good(w, 30, 1.0, [0.999])]
    )
    assert metrics.tokens_per_s(asks) == pytest.approx(6 / 4.0)
    assert metrics.tokens_per_s(asks.iloc[:0]) is None


def test_goodput_takes_failures_and_slow_answers_for_misses(tmp_path):
    w = world()
    asks = [
        good(w, 1, 0.2),
        good(w, 2, 3.0),
        refuse(w.new(3, Lane.LOAD), Outcome.REFUSED, None),
        w.new(4, Lane.LOAD),
    ]
    assert metrics.goodput(asks_of(tmp_path, asks), 2000) == metrics.Share(1, 3)


def test_a_cut_belongs_to_the_fault_on_the_tier_that_gave_the_answer(tmp_path):
    w = world()
    steps = [Hole("a", "vllm", 10, 30), Hole("b", "ollama", 15, 10)]
    asks = [cut(good(w, 20, gaps_s=[0.1] * 5, tier="ollama"), 0.4), cut(good(w, 5, gaps_s=[0.1] * 5), 0.3)]
    run = frames.read(make(tmp_path, steps, rate=0, probe_rate=0, pairs=0, extra=asks, duration_s=60).path)
    counts = {t.step: len(metrics.cuts(run.asks, t, run.trials)) for t in run.trials}
    assert counts == {"a": 0, "b": 1}
    assert metrics.cut_rate(run.gateway_asks, START, START + 10) == (1, 1)


def test_quantiles_of_nothing_are_unknown_and_of_something_observed():
    assert metrics.quantiles(pd.Series([], dtype=float))["p50"] is None
    assert metrics.quantiles(pd.Series([1.0, 2.0, 10.0]))["p50"] == 2.0
    assert metrics.quantiles(pd.Series([1.0, 2.0, 10.0]))["p99"] == 10.0
