"""The known overhead of the gateway is found; and which pairs do not count."""

import random

import pytest

from analysis import frames, judge
from analysis.evidence import Evidence
from analysis.metrics import overhead
from contract.records import GATEWAY, Lane, Outcome
from tests.synthetic import make
from tests.synthetic_world import OLLAMA, OPENAI, VLLM, World, answer, refuse


def world():
    return World((VLLM, OLLAMA, OPENAI), (), random.Random(1))


def requests_of(tmp_path, requests, **more):
    made = make(tmp_path, rate=0, probe_rate=0, pairs=0, extra=requests, duration_s=60, **more)
    return frames.read(made.path).requests


@pytest.mark.parametrize("overhead_ms", [0.0, 14.0, 250.0])
def test_the_overhead_that_was_put_in_is_found(tmp_path, overhead_ms):
    run = Evidence(frames.read(make(tmp_path, overhead_ms=overhead_ms, pairs=30, probe_rate=0).path))
    for column in ("ttft_ms", "latency_ms"):
        found = overhead.overhead(run.pairs, column)
        assert found.ms == pytest.approx(overhead_ms, abs=1.5)
        assert found.interval_ms[0] <= overhead_ms <= found.interval_ms[1]


def test_a_first_request_that_warms_a_cache_does_not_change_the_overhead(tmp_path):
    run = Evidence(
        frames.read(make(tmp_path, overhead_ms=14, first_slower_ms=80, pairs=31, probe_rate=0).path)
    )
    assert overhead.overhead(run.pairs, "ttft_ms").ms == pytest.approx(14, abs=2)


def pair(w, at, gateway_tier="vllm", direct_ok=True, **route):
    out = []
    for k, via in enumerate((GATEWAY, "vllm", "vllm", GATEWAY)):
        record = w.new(at + k, Lane.OVERHEAD, via=via, pair="p")
        answer(record, gateway_tier if via == GATEWAY else "vllm", 0.1)
        for key, value in route.items():
            if via == GATEWAY:
                setattr(record, key, value)
        out.append(record if via == GATEWAY or direct_ok else refuse(record, Outcome.REFUSED, None))
    return out


@pytest.mark.parametrize(
    ("requests", "count"),
    [
        (pair(world(), 5), 1),
        (pair(world(), 5)[:2], 1),  # a pair of two
        (pair(world(), 5)[:3], 0),  # one request is missing
        (pair(world(), 5, gateway_tier="ollama"), 0),  # another tier served
        (pair(world(), 5, direct_ok=False), 0),
        (pair(world(), 5, route_fallbacks=1), 0),  # a fallback is no overhead
        (pair(world(), 5, route_retries=1), 0),
    ],
)
def test_only_like_pairs_count(tmp_path, requests, count):
    assert len(overhead.pairs_of(requests_of(tmp_path, requests))) == count


@pytest.mark.parametrize(
    ("overloaded", "count"),
    [
        ([(4, 5)], 1),  # the first of the four begins at 5.01
        ([(6.5, 6.6)], 0),  # the second of them was sent in that second
        ([(20, 30)], 1),
    ],
)
def test_a_pair_of_an_overloaded_client_does_not_count(tmp_path, overloaded, count):
    requests = requests_of(tmp_path, pair(world(), 5.01), overloaded=overloaded)
    assert len(overhead.pairs_of(requests)) == count


def test_the_gateways_own_header_is_shown_beside_what_was_measured_and_judges_nothing(tmp_path):
    made = make(tmp_path, overhead_ms=14, pairs=30, expect={"overhead": {"max_ms": 100}})
    run = Evidence(frames.read(made.path))
    run.frames.requests["route_overhead_ms"] = 900.0
    run.frames.requests.loc[run.frames.requests["via"] == GATEWAY, "route_overhead_ms"] = 8.1
    run.frames.requests.loc[run.frames.requests["lane"] == Lane.LOAD, "route_overhead_ms"] = 700.0
    found = judge.judge(run).findings[0]
    assert "the gateway's own header reports 8.1 ms, about half of what is measured" in found.evidence
    assert found.value == pytest.approx(14, abs=1.5)


def test_a_gateway_that_says_nothing_of_itself_is_not_quoted(tmp_path):
    run = Evidence(frames.read(make(tmp_path, pairs=8, expect={"overhead": {"max_ms": 100}}).path))
    run.frames.requests["route_overhead_ms"] = float("nan")
    assert overhead.header_ms(run.frames.requests, run.pairs) is None
    assert "own header" not in judge.judge(run).findings[0].evidence
