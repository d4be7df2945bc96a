"""The table of ramp results; and a queue of known capacity, which the ramp finds."""

import csv
import io
import random
from dataclasses import asdict
from heapq import heappop, heappush

import pytest

from contract.samplers.gauges import Gauges
from scenarios.gateway.ramp import capacity
from scenarios.gateway.ramp.capacity import Ramped
from scenarios.gateway.ramp.knee import Answer, Bound, Range, decide, summarise

OBJECTIVE_MS = 1000.0
HELD_S = 300.0
TOKENS = 20


def queue(rate: float, slots: int, service_s: float, seed: int) -> tuple[list[dict], list[dict]]:
    """An M/D/c queue (FIFO): Poisson arrivals, fixed service time, `slots` servers. Returns (requests, number in the queue each second)."""
    draw, at, free, requests = random.Random(seed), 0.0, [0.0] * slots, []
    while (at := at + draw.expovariate(rate)) < HELD_S:
        begun = max(at, heappop(free))
        heappush(free, begun + service_s)
        requests.append(
            {
                "scheduled_at": at, "sent_at": at, "outcome": "ok", "stream": True, "output_tokens": TOKENS,
                "ttft_ms": (begun - at) * 1000 + 1, "latency_ms": (begun + service_s - at) * 1000,
            }
        )  # fmt: skip
    seconds = [
        {"cpu_percent": 5, "hub_lag_ms": 1,
         "in_flight": sum(a["scheduled_at"] <= s < a["scheduled_at"] + a["latency_ms"] / 1000 for a in requests)}
        for s in range(0, int(HELD_S), 10)
    ]  # fmt: skip
    return requests, seconds


@pytest.mark.parametrize(("slots", "service_s"), [(1, 0.1), (4, 0.5), (16, 1.0)])
def test_a_queue_of_known_capacity_is_found_within_a_factor_of_the_ramp(slots, service_s):
    can = slots / service_s
    rates, steps = Range(can / 8, can * 8, 1.2), []
    while not isinstance(found := decide(steps, rates, OBJECTIVE_MS), Answer):
        requests, seconds = queue(found.rate, slots, service_s, seed=len(steps))
        steps.append(summarise(found.rate, HELD_S, len(requests), 0, 0, OBJECTIVE_MS, requests, seconds))
    assert found.bound is Bound.HIGHEST
    assert can / 1.2**3 < found.rate <= can * 1.001
    row = capacity.of(Ramped("vllm", steps, found), OBJECTIVE_MS)
    # Little's law gives the number in flight, and the tokens match the rate.
    assert row.in_flight_little == pytest.approx(row.in_flight, rel=0.3)
    assert row.in_flight_little >= found.rate * service_s * 0.9
    assert row.tokens_per_s == pytest.approx(found.rate * TOKENS, rel=0.1)


def _steps(rate, **more):
    requests = [
        {"scheduled_at": i / rate, "sent_at": i / rate, "outcome": "ok", "stream": True, "ttft_ms": 50.0,
         "latency_ms": 500.0, "output_tokens": 10}
        for i in range(int(rate * 10))
    ]  # fmt: skip
    seconds = [{"cpu_percent": 5, "hub_lag_ms": 1, "in_flight": 4}]
    return summarise(rate, 10.0, len(requests), 0, 0, OBJECTIVE_MS, requests, seconds, **more)


def test_the_table_shows_unknown_values_and_keeps_zero_apart():
    gauges = [asdict(Gauges(0.0, "vllm", 0.2, 3.0, 0.0)), asdict(Gauges(1.0, "vllm", 0.4, None, 2.0))]
    rows = [
        capacity.of(one, OBJECTIVE_MS)
        for one in (
            Ramped("vllm", [_steps(8, gauges=gauges)], Answer(Bound.HIGHEST, 8, "missed")),
            Ramped("ollama", [_steps(2)], Answer(Bound.UNKNOWN_BEYOND, 2, "late")),
            Ramped("other", [], Answer(Bound.NONE, None, "missed")),
            Ramped("gateway", []),
            Ramped("late", [], Answer(Bound.UNKNOWN_BEYOND, None, "late")),
        )
    ]
    head, first, second, third, fourth, fifth = capacity.text(rows).splitlines()
    assert head.split()[:3] == ["via", "highest", "rate"]
    assert first.split() == ["vllm", "8/s", "4.0", "4.0", "77", "40.0%", "3.0", "2"]
    assert second.split() == ["ollama", "2/s,", "unknown", "beyond", "1.0", "4.0", "20", "–", "–", "–"]
    assert third.split()[:2] == ["other", "none"]
    assert fourth.split()[:2] == ["gateway", "unknown"]
    assert fifth.split()[:3] == ["late", "unknown", "–"]
    kept = list(csv.DictReader(io.StringIO(capacity.table(rows))))
    assert [r["bound"] for r in kept] == ["highest", "unknown_beyond", "none", "", "unknown_beyond"]
    assert kept[1]["kv_cache"] == ""
    assert float(kept[0]["waiting"]) == 2.0
