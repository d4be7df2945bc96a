"""Thinning of a million points: no outlier is lost, and the count is bounded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.columnar import thinning

NUMBERS = st.floats(-1e6, 1e6, width=32)
POINTS = st.lists(
    st.tuples(NUMBERS, NUMBERS, st.integers(-1, 3), st.booleans()), min_size=1, max_size=200
)  # x, y, group, failed


def columns_of(x, count):
    """The truth by another way: a column of each point, worked out one by one."""
    low, high = min(x), max(x)
    return [0 if high == low else min(count - 1, int((v - low) / (high - low) * count)) for v in x]


@given(POINTS, st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None)
def test_every_failure_and_the_edges_of_every_column_are_kept(points, columns, rows):
    x, y, group, failed = (np.array(part) for part in zip(*points, strict=True))
    drawn = thinning.kept(x, y, group, columns, rows, always=failed)
    assert set(np.flatnonzero(failed)) <= set(drawn)
    place = list(zip(columns_of(x, columns), group, strict=True))
    for one in set(place):
        all_y = [v for v, p in zip(y, place, strict=True) if p == one]
        drawn_y = [y[i] for i in drawn if place[i] == one]
        assert (min(drawn_y), max(drawn_y)) == (min(all_y), max(all_y))


@given(POINTS, st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None)
def test_the_count_is_bounded_and_the_answer_is_in_order_and_the_same_again(points, columns, rows):
    x, y, group, _ = (np.array(part) for part in zip(*points, strict=True))
    drawn = thinning.kept(x, y, group, columns, rows)
    assert len(drawn) <= len(set(group)) * columns * (rows + 2)
    assert (np.diff(drawn) > 0).all()
    assert (thinning.kept(x, y, group, columns, rows) == drawn).all()


@given(POINTS, st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None)
def test_every_point_that_is_left_out_lies_in_the_cell_of_one_that_is_drawn(points, columns, rows):
    x, y, group, _ = (np.array(part) for part in zip(*points, strict=True))
    drawn = thinning.kept(x, y, group, columns, rows)
    cell = list(zip(columns_of(x, columns), columns_of(y, rows), group, strict=True))
    assert {cell[i] for i in drawn} == set(cell)


def test_a_million_points_become_few_and_the_one_far_out_is_among_them():
    random = np.random.default_rng(1)
    x, y = random.uniform(0, 86_400, 1_000_000), random.normal(80, 5, 1_000_000)
    y[123_456] = 30_000.0
    drawn = thinning.kept(x, y, np.zeros(len(x), int), 600, 300)
    assert 123_456 in drawn
    assert len(drawn) < 10_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_point_without_a_place_is_drawn_only_where_it_must_be(bad):
    x, y, group = np.array([1.0, 2.0, bad]), np.array([1.0, 2.0, 3.0]), np.zeros(3, int)
    assert thinning.kept(x, y, group, 10, 10).tolist() == [0, 1]
    assert thinning.kept(x, y, group, 10, 10, always=np.array([False, False, True])).tolist() == [0, 1, 2]


def test_no_points_and_points_in_one_place():
    assert thinning.kept(np.zeros(0), np.zeros(0), np.zeros(0, int), 10, 10).tolist() == []
    assert thinning.kept(np.ones(5), np.ones(5), np.zeros(5, int), 10, 10).tolist() == [0]
