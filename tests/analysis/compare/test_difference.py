"""Known shifts, intervals from textbooks and exact p must be found again."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.compare import bootstrap, difference
from analysis.compare.estimate import Estimate, Proportion, Trials
from tests.analysis.compare.sides import latencies, trials


def test_the_median_shift_of_a_gateway_that_takes_50_ms_more_is_found():
    a, b = latencies(1)[0].number, latencies(2, more_ms=50)[0].number
    found = difference.of_estimates(a, b)
    assert found.low < 50 < found.high
    assert found.low > 0
    assert found.p < 1e-4


@pytest.mark.verify
def test_the_interval_of_a_median_holds_the_truth_nineteen_times_in_twenty():
    held = 0
    for seed in range(150):
        a, b = latencies(seed, blocks=15)[0].number, latencies(9000 + seed, 30, blocks=15)[0].number
        found = difference.of_estimates(a, b)
        held += found.low <= 30 <= found.high
    assert held >= 0.91 * 150


@pytest.mark.verify
def test_the_interval_of_a_p95_holds_the_truth_nineteen_times_in_twenty():
    held = 0
    for seed in range(150):
        a, b = latencies(seed)[1].number, latencies(9000 + seed, 30)[1].number
        found = difference.of_estimates(a, b)
        held += found.low <= 30 <= found.high
    assert held >= 0.91 * 150


def test_answers_that_wait_together_are_not_taken_for_independent():
    """The same answers per second, but correlated within each second: the interval must be wider."""
    rng = np.random.default_rng(3)
    shared = np.repeat(rng.normal(0, 30, 30), 20)
    apart = rng.permutation(shared)
    block = np.repeat(np.arange(30), 20)
    together, alone = (
        bootstrap.resampled_quantiles(200 + x + rng.normal(0, 5, 600), block, [0.5], 0)[0]
        for x in (shared, apart)
    )
    assert together.std() > 2 * alone.std()


def test_a_drawn_quantile_of_many_values_is_as_that_of_all_of_them():
    rng = np.random.default_rng(4)
    values, block = rng.gamma(2, 50, 40_000), np.repeat(np.arange(50), 800)
    for q, drawn in zip(
        (0.5, 0.99), bootstrap.resampled_quantiles(values, block, (0.5, 0.99), 0), strict=True
    ):
        assert np.median(drawn) == pytest.approx(np.quantile(values, q), rel=0.02)
        assert drawn.std() > 0


@pytest.mark.parametrize(
    ("n", "m", "rank"), [(3, 3, 0), (4, 4, 1), (5, 5, 3), (8, 8, 14), (9, 9, 18), (10, 10, 24)]
)
def test_the_rank_of_the_interval_is_that_of_the_tables(n, m, rank):
    """Critical values of Mann and Whitney's U, two-sided 5 %, plus one; (Hollander and Wolfe, table A.6)."""
    assert difference._rank(n, m) == rank


def test_the_large_and_the_exact_rank_meet():
    exact = difference._rank(50, 50)
    assert abs(difference._rank(51, 50) - exact) < 30


def test_trials_that_all_take_half_a_second_longer():
    a = (0.41, 0.52, 0.38, 0.61, 0.47, 0.55, 0.44)
    found = difference.of_trials(Trials(a, (False,) * 7), Trials(tuple(x + 0.5 for x in a), (False,) * 7))
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.p == pytest.approx(2 / math.comb(14, 7))


def test_a_censored_trial_is_never_taken_for_its_bound():
    a = trials([1, 2, 3, 4, 5, 6]).number
    b = trials([7, 8, 9, 10, 11, 12], censored=range(6)).number
    found = difference.of_trials(a, b)
    assert found.high == math.inf
    assert found.low == 3  # as if they had ended at their bounds: the sixth of 36 differences
    late = difference.of_trials(trials([7, 8, 9, 10, 11, 12], censored=range(6)).number, a)
    assert (late.low, late.high) == (-math.inf, -3)
    unsure = difference.of_trials(trials([1, 1, 1, 1, 1, 1], censored=range(6)).number, a)
    assert unsure.low == -math.inf
    assert unsure.p == 1.0  # they may have come to anything


def test_newcombes_own_example():
    """56/70 against 48/80: difference 0.2, 95 % in [0.0524, 0.3339] (Newcombe 1998, table II, method 10)."""
    found = difference.of_proportions(Proportion(48, 80), Proportion(56, 70))
    assert (found.value, found.low, found.high) == (
        pytest.approx(0.2), pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5),
    )  # fmt: skip
    assert 0.001 < found.p < 0.05


def test_p_of_proportions_is_where_the_interval_touches_nothing():
    assert difference.of_proportions(Proportion(90, 100), Proportion(90, 100)).p == 1.0
    lost = difference.of_proportions(Proportion(1000, 1000), Proportion(900, 1000))
    assert lost.p < 1e-10
    assert lost.high < 0


def test_failures_in_one_burst_are_one_accident():
    hits, total = np.full(20, 50.0), np.full(20, 50.0)
    hits[7] = 30
    effect = bootstrap.design_effect(hits, total)
    assert effect > 10
    spread = np.full(20, 49.0)
    assert bootstrap.design_effect(spread, total) == 1.0
    all_good = Proportion(1000, 1000)
    assert difference.of_proportions(all_good, Proportion(980, 1000, effect)).high > 0
    assert difference.of_proportions(all_good, Proportion(980, 1000)).high < 0


def test_holm_is_as_in_its_paper():
    assert difference.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert difference.holm([0.9, 0.8]) == [1.0, 1.0]
    assert difference.holm([]) == []


def test_how_many_trials_are_needed():
    assert difference.trials_needed(0.05) == 4
    assert difference.trials_needed(0.05 / 12) == 6


@pytest.mark.verify
def test_what_would_have_been_seen_is_seen_four_times_in_five():
    a = latencies(0)[0].number
    found = difference.of_estimates(a, a)
    least = difference.would_have_seen(found, 0.05)
    hits = 0
    for seed in range(100):
        one, other = latencies(100 + seed)[0].number, latencies(5000 + seed, least)[0].number
        hits += difference.of_estimates(one, other).low > 0
    assert 60 <= hits <= 97


def test_a_number_without_variation():
    flat = Estimate(5.0, 100, 10, 0.0, (5.0,) * 3)
    found = difference.of_estimates(flat, flat)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1.0)


def test_ties_use_a_permutation_test():
    a, b = Trials((0.0,) * 6, (False,) * 6), Trials((0.0, 0.0, 1.0, 2.0, 2.0, 3.0), (False,) * 6)
    found = difference.of_trials(a, b)
    assert found.p == pytest.approx(stats.fisher_exact([[6, 0], [2, 4]]).pvalue, abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_with_ties_p_is_that_of_scipys_permutation_test(seed):
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, 6, rng.integers(3, 30)).astype(float) for _ in range(2))
    dealt = stats.PermutationMethod(n_resamples=difference.EXACT_UP_TO, rng=np.random.default_rng(0))
    assert difference._mann_whitney(a, b) == stats.mannwhitneyu(b, a, method=dealt).pvalue
