"""Fronts, crowding and hypervolume against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raynas.objectives.pareto import crowded_order, crowding, dominates, hypervolume, ranks

POINTS = st.integers(1, 3).flatmap(
    lambda m: st.integers(1, 9).flatmap(lambda n: arrays(np.int64, (n, m), elements=st.integers(0, 5)))
)
EXAMPLES = settings(max_examples=80, deadline=None, derandomize=True, database=None)


def beats(one, other):
    return all(a >= b for a, b in zip(one, other, strict=True)) and any(a > b for a, b in zip(one, other, strict=True))


@EXAMPLES
@given(POINTS)
def test_ranks_peel_the_fronts_one_by_one(points):
    left, expected = list(range(len(points))), {}
    for rank in range(len(points)):
        front = [one for one in left if not any(beats(points[other], points[one]) for other in left)]
        expected |= dict.fromkeys(front, rank)
        left = [one for one in left if one not in front]
    assert ranks(points.astype(float)).tolist() == [expected[index] for index in range(len(points))]
    assert dominates(points.astype(float)).tolist() == [[beats(one, other) for other in points] for one in points]


@EXAMPLES
@given(POINTS)
def test_hypervolume_counts_the_unit_cells_below_the_points(points):
    cells = {
        cell
        for point in points
        for cell in np.ndindex(*point)  # the cells between the origin and the point
    }
    assert hypervolume(points.astype(float), [0.0] * points.shape[1]) == pytest.approx(len(cells))


def test_hypervolume_leaves_out_what_is_not_better_than_the_reference():
    points = np.array([[3.0, 1.0], [1.0, 3.0], [-1.0, 9.0]])
    assert hypervolume(points, (0.0, 0.0)) == 5.0
    assert hypervolume(points, (0.5, 0.5)) == pytest.approx(2.5 * 0.5 + 0.5 * 2.5 - 0.5 * 0.5)
    assert hypervolume(points, (4.0, 4.0)) == 0.0
    assert hypervolume(np.zeros((0, 2)), (0.0, 0.0)) == 0.0


def test_crowding_is_the_neighbours_gap_by_score():
    points = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 4.0], [10.0, 0.0]])
    found = crowding(points)
    assert np.isinf(found[[0, 3]]).all()
    assert found[1:3] == pytest.approx([0.4 + 0.6, 0.9 + 0.6])


def test_a_score_that_all_share_says_nothing_of_the_crowd():
    assert crowding(np.ones((4, 2))).tolist() == [0.0] * 4
    points = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 4.0], [10.0, 0.0]])
    assert crowding(np.column_stack([points, np.ones(4)])).tolist() == crowding(points).tolist()


def test_the_crowded_order_is_front_first_then_room():
    points = np.array([[0.0, 3.0], [1.0, 2.0], [1.1, 1.9], [3.0, 0.0], [0.0, 0.0]])
    order = crowded_order(points)
    assert set(order[:2]) == {0, 3}
    assert order[-1] == 4
    assert crowded_order(np.zeros((0, 2))) == []
