"""The hub's lag: the p99 of what an event at a random instant of a second would have waited."""

import random

import pytest

from scenarios.gateway.lag import lag_p99_s


@pytest.mark.parametrize(
    ("overshoots_s", "ms"),
    [
        ([], 0),  # no late beat
        (
            [0.0001] * 190,
            0.05,
        ),  # 19 ms of the second in all are spent late: above x = 0.05 ms just 10 ms of them
        ([0.015], 5),  # one hiccup of 15 ms: for 10 ms of the second an event waited more than 5 ms
        ([0.030], 20),  # one stall of 30 ms
        ([0.015, 0.015], 10),  # two hiccups
        ([0.5, 0.001], 490),  # half a second of silence
    ],
)
def test_the_lag_of_known_overshoots(overshoots_s, ms):
    assert lag_p99_s(overshoots_s, 1.0) * 1000 == pytest.approx(ms, abs=0.06)


def test_it_is_what_random_events_meet():
    rng = random.Random(1)
    overshoots_s = [rng.expovariate(200) for _ in range(60)]

    def wait_s(at: float) -> float:
        for overshoot in overshoots_s:
            if at < overshoot:
                return overshoot - at
            at -= overshoot
        return 0.0

    waits = sorted(wait_s(rng.random()) for _ in range(100_000))
    assert lag_p99_s(overshoots_s, 1.0) == pytest.approx(waits[int(0.99 * len(waits))], rel=0.06)
