"""Intervals of shares and of paired differences: published values, invariants, and coverage."""

import random
from math import log, sqrt

import pytest
from scipy import optimize, stats

from analysis.metrics.paired import Paired, pairs_to_decide, score_interval, share_interval

Z2 = stats.norm.ppf(0.975) ** 2


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [
        # Fagerland, Lydersen, Laake 2014, Statistics in Medicine 33:2850-2875: airway hyper-responsiveness (Bentur 2009)
        pytest.param(1, 7, 21, -0.517, -0.026, id="a=1 b=1 c=7 d=12"),
        # the same authors' Statistical Analysis of Contingency Tables, chapter 8: complete response (Cavo 2012)
        pytest.param(6, 16, 161, -0.1240, -0.0054, id="a=59 b=6 c=16 d=80"),
    ],
)
def test_the_score_interval_is_the_published_one(gained, lost, n, low, high):
    places = 3 if n == 21 else 4
    assert tuple(round(x, places) for x in score_interval(gained, lost, n)) == (low, high)


@pytest.mark.parametrize("n", [1, 5, 8, 60, 1000])
def test_where_no_pair_differs_the_interval_is_no_point(n):
    low, high = score_interval(0, 0, n)
    assert high == pytest.approx(Z2 / (n + Z2))
    assert low == pytest.approx(-high)


def tables(count=300):
    draw = random.Random(5)
    for _ in range(count):
        n = draw.randint(1, 200)
        gained = draw.randint(0, n)
        yield gained, draw.randint(0, n - gained), n


def test_the_interval_holds_its_difference_and_stays_within_one():
    for gained, lost, n in tables():
        low, high = score_interval(gained, lost, n)
        assert -1 <= low <= (gained - lost) / n <= high <= 1
        assert low < high


def test_swapping_the_two_swaps_the_signs():
    for gained, lost, n in tables():
        low, high = score_interval(gained, lost, n)
        assert score_interval(lost, gained, n) == pytest.approx((-high, -low), abs=1e-9)


def test_at_both_ends_the_score_is_that_many_standard_deviations_away():
    """By the likelihood itself, not by the closed form of its maximum."""
    for gained, lost, n in tables(40):
        for end, side in zip(score_interval(gained, lost, n), (1, -1), strict=True):
            if abs(end) < 1:
                q = most_likely(gained, lost, n, end)
                score = (gained - lost - n * end) / sqrt(n * (2 * q + end * (1 - end)))
                assert side * score == pytest.approx(sqrt(Z2), abs=2e-3)


def most_likely(gained, lost, n, delta):
    """The share of the lost that is most likely if that of the gained is larger by delta."""

    def unlikely(q):
        parts = ((gained, q + delta), (lost, q), (n - gained - lost, 1 - 2 * q - delta))
        return -sum(k * log(max(p, 1e-300)) for k, p in parts if k)

    bounds = (max(0.0, -delta), (1 - delta) / 2)
    return optimize.minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x


def test_the_interval_narrows_with_more_pairs_that_came_out_alike():
    widths = [high - low for low, high in (score_interval(2 * k, 3 * k, 20 * k) for k in (1, 2, 4, 8, 16))]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    ("n", "gain", "loss"), [(60, 0.05, 0.05), (60, 0.02, 0.12), (30, 0.1, 0.1), (40, 0.1, 0.02)]
)
def test_about_nineteen_of_twenty_intervals_hold_the_true_difference(n, gain, loss):
    draw = random.Random(f"{n} {gain} {loss}")
    rounds, held = 2000, 0
    known = {}
    for _ in range(rounds):
        kinds = draw.choices("gls", weights=(gain, loss, 1 - gain - loss), k=n)
        key = kinds.count("g"), kinds.count("l")
        if key not in known:
            known[key] = score_interval(*key, n)
        low, high = known[key]
        held += low <= gain - loss <= high
    assert 0.93 <= held / rounds <= 0.985


def test_how_many_pairs_pairs_to_decide():
    few = Paired(0, 0, 8)
    need = pairs_to_decide(few, -0.15)
    assert need == 22  # z² / (n + z²) < 0.15
    assert Paired(0, 0, need).interval[0] > -0.15 >= Paired(0, 0, need - 1).interval[0]
    worse = Paired(0, 5, 20)
    need = pairs_to_decide(worse, -0.15)
    assert score_interval(0, need / 4, need)[1] < -0.15
    assert pairs_to_decide(Paired(0, 3, 20), -0.15) is None  # at the limit itself no number tells


def test_the_interval_of_a_share_is_wilsons():
    # Newcombe 1998, Statistics in Medicine 17:857-872: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert share_interval(hits, n) == pytest.approx((low, high), abs=5e-5)
