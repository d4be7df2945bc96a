"""Each metric on requests with a known result."""

import random

import numpy as np
import pandas as pd
import pytest

from analysis import frames
from analysis.metrics import chunks, cuts, latency, quantiles, rates, shares
from contract.records import Lane, Outcome
from tests.synthetic import make
from tests.synthetic_world import OLLAMA, OPENAI, START, VLLM, Hole, World, answer, cut, refuse


def world():
    return World((VLLM, OLLAMA, OPENAI), (), random.Random(1))


def requests_of(tmp_path, requests, **more):
    made = make(tmp_path, rate=0, probe_rate=0, pairs=0, extra=requests, duration_s=60, **more)
    return frames.read(made.path).requests


def good(w, at, ttft_s=0.2, gaps_s=(), tier="vllm", **more):
    return answer(w.new(at, more.pop("lane", Lane.LOAD), **more), tier, ttft_s, gaps_s)


def test_continuity_counts_cut_and_abandoned_apart(tmp_path):
    w = world()
    requests = [good(w, i) for i in range(8)]
    requests += [
        refuse(w.new(9, Lane.LOAD), Outcome.TIMEOUT, None),
        refuse(w.new(9, Lane.LOAD), Outcome.REJECTED, 500),
    ]
    requests += [
        cut(good(w, 10, gaps_s=[0.1] * 5), 0.3),
        w.new(11, Lane.LOAD),
    ]  # the last was abandoned
    requests += [
        good(w, 12, via="vllm"),
        good(w, 12, lane=Lane.PROBE_NEW),
        good(w, 12, lane=Lane.WARMUP),
    ]  # not users'
    found = shares.continuity(requests_of(tmp_path, requests))
    assert found == shares.Continuity(shares.Share(8, 10), cut=1, stalled=0, abandoned=1)
    assert found.good.ratio == 0.8


def test_no_requests_have_no_continuity(tmp_path):
    assert shares.continuity(requests_of(tmp_path, [])).good.ratio is None


def test_latency_from_scheduled_includes_the_wait(tmp_path):
    record = good(world(), 5, 0.2)
    record.scheduled_at -= 4.0
    requests = requests_of(tmp_path, [record])
    assert latency.latency_ms(requests).iloc[0] == pytest.approx(201)
    assert latency.latency_ms(requests, of="scheduled").iloc[0] == pytest.approx(4201, abs=0.1)


def test_tpot_is_the_time_between_tokens_by_the_usage_not_by_the_chunks(tmp_path):
    record = good(world(), 5, 0.2, [0.1, 0.3])  # three chunks
    record.output_tokens = 9
    assert latency.tpot_ms(requests_of(tmp_path, [record])).tolist() == [pytest.approx(50)]


def thinking(w, at):
    """The first thought after 0.2 s, the first content after 1 s; nine tokens, 0.2 s apart."""
    record = good(w, at, 0.2, [0.2] * 8)
    record.thought_ms, record.ttft_ms, record.output_tokens = 200.0, 1000.0, 9
    return record


def test_a_reasoning_models_first_token_is_a_thought_and_its_first_content_comes_later(tmp_path):
    requests = requests_of(tmp_path, [thinking(world(), 5), good(world(), 6, 0.3, [0.1])])
    assert latency.first_thought_ms(requests).dropna().tolist() == [200.0]
    assert latency.ttft_ms(requests).tolist() == [1000.0, pytest.approx(300)]
    assert latency.first_token_ms(requests, of="scheduled").tolist() == [
        pytest.approx(1000),
        pytest.approx(300),
    ]
    assert (requests["first_at"] - requests["sent_at"]).tolist() == [pytest.approx(0.2), pytest.approx(0.3)]
    assert latency.tpot_ms(requests).iloc[0] == pytest.approx(200)


def test_an_answer_that_thinks_first_is_estimated_from_its_first_thought(tmp_path):
    guessed, estimated = latency.latency_for_tokens_ms(requests_of(tmp_path, [thinking(world(), 5)]), 10)
    assert (guessed.tolist(), estimated) == ([pytest.approx(2000)], True)


def test_latency_for_ten_tokens_is_measured_or_marked_as_estimated(tmp_path):
    w = world()
    exact, longer = good(w, 5, 0.2, [0.1] * 9), good(w, 6, 0.2, [0.1] * 19)
    measured, estimated = latency.latency_for_tokens_ms(requests_of(tmp_path / "a", [exact, longer]), 10)
    assert (measured.tolist(), estimated) == ([pytest.approx(1101)], False)
    guessed, estimated = latency.latency_for_tokens_ms(requests_of(tmp_path / "b", [longer]), 10)
    assert (guessed.tolist(), estimated) == ([pytest.approx(1100)], True)


def test_no_token_is_lost_or_invented_when_throughput_is_spread(tmp_path):
    w = world()
    requests = requests_of(tmp_path, [good(w, 3.3 + i * 1.7, 0.2, [0.1] * 9) for i in range(20)])
    edges = np.arange(0, 61, 2.0) + START
    table = rates.tokens_over_time(requests, ["vllm", "ollama"], edges)
    assert (table["vllm"] * 2).sum() == pytest.approx(200)
    assert table["ollama"].sum() == 0


def test_tokens_a_second_count_only_the_time_in_which_something_was_answered(tmp_path):
    w = world()
    requests = requests_of(
        tmp_path, [good(w, 5, 1.0, [0.999]), good(w, 5.5, 1.0, [0.499]), good(w, 30, 1.0, [0.999])]
    )
    assert rates.tokens_per_s(requests) == pytest.approx(6 / 4.0)
    assert rates.tokens_per_s(requests.iloc[:0]) is None


def test_goodput_takes_failures_and_slow_answers_for_misses(tmp_path):
    w = world()
    requests = [
        good(w, 1, 0.2),
        good(w, 2, 3.0),
        refuse(w.new(3, Lane.LOAD), Outcome.REFUSED, None),
        w.new(4, Lane.LOAD),
    ]
    assert shares.goodput(requests_of(tmp_path, requests), 2000) == shares.Share(1, 3)


@pytest.mark.parametrize(
    ("scenario", "waited_for"), [("chat", True), ("classify", False), ("nightly", False)]
)
def test_an_unattended_scenario_has_no_first_token_that_a_person_waits_for(tmp_path, scenario, waited_for):
    """The run records which of its scenarios are unattended."""
    w = world()
    slow = good(w, 2, 3.0)
    slow.scenario = scenario
    failed = refuse(w.new(3, Lane.LOAD), Outcome.REFUSED, None)
    failed.scenario = scenario
    requests = requests_of(tmp_path, [good(w, 1, 3.0), slow, failed])
    assert shares.goodput(requests, 2000) == shares.Share(0 if waited_for else 1, 3)
    assert ("unattended" in requests.columns) == (not waited_for)


def test_a_cut_belongs_to_the_fault_on_the_tier_that_gave_the_answer(tmp_path):
    w = world()
    steps = [Hole("a", "vllm", 10, 30), Hole("b", "ollama", 15, 10)]
    requests = [
        cut(good(w, 20, gaps_s=[0.1] * 5, tier="ollama"), 0.4),
        cut(good(w, 5, gaps_s=[0.1] * 5), 0.3),
    ]
    run = frames.read(
        make(tmp_path, steps, rate=0, probe_rate=0, pairs=0, extra=requests, duration_s=60).path
    )
    counts = {t.step: len(cuts.cuts(run.requests, t, run.trials)) for t in run.trials}
    assert counts == {"a": 0, "b": 1}


def test_quantiles_of_nothing_are_unknown_and_of_something_observed():
    assert quantiles.quantiles(pd.Series([], dtype=float))["p50"] is None
    assert quantiles.quantiles(pd.Series([1.0, 2.0, 10.0]))["p50"] == 2.0
    assert quantiles.quantiles(pd.Series([1.0, 2.0, 10.0]))["p99"] == 10.0


def test_the_gaps_between_chunks_are_those_that_were_put_in(tmp_path):
    w = world()
    requests = [
        good(w, 1, gaps_s=[0.1, 0.3]),
        good(w, 2, gaps_s=[0.2]),
        cut(good(w, 3, gaps_s=[0.1] * 5), 0.5),
    ]
    requests.append(good(w, 4, gaps_s=[9.0]))
    requests[-1].stream = False
    assert np.sort(chunks.chunk_gaps_ms(requests_of(tmp_path, requests))) == pytest.approx([100, 200, 300])
    assert len(chunks.chunk_gaps_ms(requests_of(tmp_path / "none", []))) == 0


ONE_BY_ONE, IN_CLUMPS = [0.05] * 30, ([0.0] * 4 + [0.25]) * 6  # the same mean


@pytest.mark.parametrize(
    ("gaps_s", "overloaded", "clumped", "who"),
    [
        (ONE_BY_ONE, (), False, None),
        (ONE_BY_ONE, [(0, 60)], False, None),
        (IN_CLUMPS, (), True, "caused by the engine or the path"),  # the hub was on time
        (IN_CLUMPS, [(0, 60)], True, "caused by the client"),
        (IN_CLUMPS, [(20, 60)], True, "caused by the engine or the path"),  # there in clean seconds too
        (IN_CLUMPS[:15], (), None, None),  # too few
    ],
)
def test_chunks_in_clumps_are_distinguished_from_single_ones(tmp_path, gaps_s, overloaded, clumped, who):
    requests = requests_of(tmp_path, [good(world(), 5, gaps_s=gaps_s)], overloaded=overloaded)
    if overloaded == [(20, 60)]:
        w = world()
        requests = requests_of(
            tmp_path, [good(w, 5, gaps_s=gaps_s), good(w, 30, gaps_s=gaps_s)], overloaded=overloaded
        )
    assert chunks.clumped(chunks.chunk_gaps_ms(requests)) is clumped
    said = chunks.clumping_cause(requests)
    assert said is None if who is None else said.startswith(who)


def test_answers_a_second_count_only_the_time_in_which_one_was_under_way(tmp_path):
    w = world()
    requests = requests_of(tmp_path, [good(w, 5, 0.999), good(w, 5.5, 0.999), good(w, 30, 0.499)])
    assert rates.answers_per_s(requests) == pytest.approx(3 / 2.0)
    assert rates.answers_per_s(requests.iloc[:0]) is None


@pytest.mark.parametrize(("of", "ms"), [("sent", 200), ("scheduled", 4200)])
def test_the_first_token_too_is_given_from_both_instants(tmp_path, of, ms):
    record = good(world(), 5, 0.2)
    record.scheduled_at -= 4.0
    assert latency.first_token_ms(requests_of(tmp_path, [record]), of=of).tolist() == [
        pytest.approx(ms, abs=0.1)
    ]
