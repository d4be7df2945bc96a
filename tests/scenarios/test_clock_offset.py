"""Known offsets and delays; the true offset must be within the estimate's uncertainty."""

import random

import pytest

from scenarios.gateway.distributed.clock_offset import DRIFT, Round, estimate


def _round(at: float, ahead_s: float, there_s: float, back_s: float, held_s: float = 0.0) -> Round:
    """A round trip with these delays, to a clock that is `ahead_s` ahead."""
    heard = at + there_s
    return Round(at, heard + ahead_s, heard + held_s + ahead_s, heard + held_s + back_s)


@pytest.mark.parametrize("ahead_s", [0.0, 0.25, -3600.0, 1e6])
def test_the_same_way_there_and_back_gives_the_offset(ahead_s):
    one = _round(100.0, ahead_s, 0.004, 0.004, held_s=2.0)
    assert one.offset_s == pytest.approx(ahead_s, abs=1e-6)
    assert one.uncertainty_s == pytest.approx(0.004, abs=1e-6)


@pytest.mark.parametrize(("there_s", "back_s"), [(0.0, 0.1), (0.1, 0.0), (0.03, 0.001), (1.7, 0.002)])
def test_an_asymmetric_round_trip_is_wrong_by_no_more_than_its_uncertainty(there_s, back_s):
    one = _round(100.0, 5.0, there_s, back_s)
    assert abs(one.offset_s - 5.0) <= one.uncertainty_s + 1e-9


def test_the_quickest_round_is_used_whatever_the_others_give():
    rounds = [_round(100.0 + n, 2.0, 0.4, 0.002) for n in range(9)] + [_round(105.5, 2.0, 0.001, 0.0005)]
    offset_s, uncertainty_s = estimate(rounds, 110.0)
    assert offset_s == pytest.approx(2.0, abs=0.0003)
    assert uncertainty_s < 0.0013


def test_an_old_quick_round_loses_to_a_new_one_in_the_end():
    old, new = _round(0.0, 1.0, 0.001, 0.001), _round(100.0, 1.008, 0.003, 0.003)
    assert estimate([old], 60.0)[1] == pytest.approx(0.001 + 60 * DRIFT, rel=1e-3)
    assert estimate([old, new], 100.01)[0] == pytest.approx(1.008, abs=1e-6)


def test_the_truth_is_within_the_uncertainty_whatever_the_network_does():
    rng = random.Random(3)
    for _ in range(300):
        drift, ahead_s = rng.uniform(-DRIFT, DRIFT), rng.uniform(-1e4, 1e4)
        rounds = [
            _round(at, ahead_s + drift * at, rng.expovariate(200), rng.expovariate(50), rng.uniform(0, 0.05))
            for at in range(0, 60, 2)
        ]
        offset_s, uncertainty_s = estimate(rounds, 60.0)
        assert abs(offset_s - (ahead_s + drift * 60)) <= uncertainty_s + 1e-6


def test_processes_of_one_machine_know_it_exactly_unless_the_messages_deny_it():
    rounds = [_round(100.0, 0.5, 0.004, 0.001)]
    assert estimate(rounds, 101.0, exact_s=0.5) == (0.5, 0.0)
    offset_s, uncertainty_s = estimate(rounds, 101.0, exact_s=900.0)  # a time namespace of its own
    assert abs(offset_s - 0.5) <= uncertainty_s
