"""The exact interval of the median against the published table, and the effect of censored trials."""

import pytest

from analysis.metrics.trials import Value, interval_ranks, median_interval, summarise


@pytest.mark.parametrize(
    ("n", "ranks"),
    [
        (6, (1, 6)),
        (9, (2, 8)),
        (10, (2, 9)),
        (20, (6, 15)),
        (30, (10, 21)),
        (0, None),
        (1, None),
        (5, None),  # even the extremes hold the median with 93.75 % only
    ],
)
def test_the_ranks_that_bound_the_median_are_those_of_the_table(n, ranks):
    assert interval_ranks(n) == ranks


def test_the_interval_takes_values_in_order_however_they_came():
    assert median_interval([6, 1, 5, 2, 4, 3]) == (1, 6)


def test_a_summary_has_the_max_of_n_and_how_many_are_censored():
    values = [Value("s", i + 1, float(i), censored=i == 5) for i in range(6)] + [Value("s", 7, None)]
    seen = summarise(values)
    assert (seen.n, seen.median, seen.maximum, seen.censored, seen.unseen) == (6, 2.5, 5.0, 1, 1)
    assert seen.text("s") == "2.5 s (median of 6; 95 % in [0, ?]; max of 6: >5 s; 1 censored)"


def test_no_trial_is_unknown_and_not_zero():
    assert summarise([]).median is None
    assert summarise([]).text("s") == "unknown"


@pytest.mark.parametrize(
    ("values", "interval"),
    [
        ([1, 2, 3, 4, 5], None),  # five trials have none, however alike they are
        ([1, 2, 3, 4, 5, 6], (1, 6)),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], (2, 8)),
    ],
)
def test_an_interval_is_two_of_the_values_or_none(values, interval):
    seen = summarise([Value("s", i, v) for i, v in enumerate(values)])
    assert seen.interval == interval
    assert ("95 %" in seen.text("s")) == (interval is not None)


@pytest.mark.parametrize(
    ("censored", "interval"),
    [
        ({9}, (2, 8)),  # it stands above the upper end, wherever it would have ended
        ({8}, (2, None)),  # it is the upper end, or would stand above it
        ({3}, (2, None)),  # it may be the longest
        ({1}, (2, None)),
    ],
)
def test_a_censored_trial_leaves_the_upper_end_open_where_it_could_reach_it(censored, interval):
    values = [Value("s", i, float(i), censored=i in censored) for i in range(1, 10)]
    assert summarise(values).interval == interval
