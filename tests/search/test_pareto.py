"""Fronts, crowding and hypervolumes are what their definitions say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nasbench_robust.search import (
    crowding_distance,
    hypervolume,
    non_dominated,
    non_dominated_ranks,
    running_hypervolume,
)

POINTS = st.integers(1, 3).flatmap(
    lambda objectives: st.lists(
        st.tuples(*[st.integers(0, 5)] * objectives).map(lambda point: tuple(x / 5 for x in point)),
        min_size=1,
        max_size=12,
    )
)


def dominates(one, other):
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(POINTS)
def test_sorting_follows_the_definition(points):
    left, rank, naive = set(range(len(points))), 0, {}
    while left:
        front = {one for one in left if not any(dominates(points[other], points[one]) for other in left)}
        naive |= dict.fromkeys(front, rank)
        left, rank = left - front, rank + 1
    assert non_dominated_ranks(points).tolist() == [naive[place] for place in range(len(points))]
    assert non_dominated(points).tolist() == [naive[place] == 0 for place in range(len(points))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(POINTS)
def test_hypervolume_is_the_volume_of_the_covered_grid_cells(points):
    objectives = len(points[0])
    corners = itertools.product(range(5), repeat=objectives)
    covered = sum(any(all(5 * x > c for x, c in zip(p, corner, strict=True)) for p in points) for corner in corners)
    assert hypervolume(points) == pytest.approx(covered / 5**objectives)
    running = running_hypervolume(points)
    assert running.tolist() == pytest.approx([hypervolume(points[: n + 1]) for n in range(len(points))])


def test_hypervolume_in_four_objectives_against_random_points():
    rng = np.random.default_rng(0)
    points = rng.uniform(0.2, 1, size=(8, 4))
    reference = [0.1, 0.2, 0.0, 0.1]
    drawn = rng.uniform(size=(200_000, 4))
    inside = (drawn > reference).all(axis=1) & (drawn[:, None] < points).all(axis=2).any(axis=1)
    assert hypervolume(points, reference) == pytest.approx(inside.mean(), abs=5 * inside.std() / math.sqrt(200_000))


def test_crowding_of_a_front():
    front = [[0.0, 1.0], [0.2, 0.7], [0.6, 0.6], [1.0, 0.0]]
    assert crowding_distance(front).tolist() == pytest.approx([math.inf, 0.6 + 0.4, 0.8 + 0.7, math.inf])


def test_crowding_is_infinite_at_both_ends_of_every_objective():
    # The first is the lower end of the first objective and no upper end of any, and so on around.
    front = [[0.0, 0.5, 0.5], [0.5, 0.0, 0.6], [0.6, 0.6, 0.0], [1.0, 0.4, 0.4], [0.4, 1.0, 0.3], [0.3, 0.3, 1.0]]
    front += [[0.45, 0.45, 0.45]]
    distance = crowding_distance(front)
    assert np.isinf(distance[:6]).all()
    assert distance[6] == pytest.approx((0.5 - 0.4) + (0.5 - 0.4) + (0.5 - 0.4))


def test_crowding_is_in_units_of_the_extent():
    front = [[0.2, 0.9], [0.3, 0.8], [0.35, 0.6], [0.4, 0.5]]
    assert crowding_distance(front).tolist() == pytest.approx(
        [math.inf, 0.15 / 0.2 + 0.3 / 0.4, 0.1 / 0.2 + 0.3 / 0.4, math.inf]
    )


def test_points_below_the_reference_in_one_objective_add_nothing():
    points, reference = [[0.9, 0.2], [0.6, 0.6], [0.2, 0.9], [0.7, 0.5], [0.5, 0.3]], [0.4, 0.4]
    volumes = running_hypervolume(points, reference)
    assert volumes.tolist() == pytest.approx([0, 0.04, 0.04, 0.05, 0.05])
    assert hypervolume(points, reference) == pytest.approx(0.05)
    assert hypervolume(points[:1], reference) == 0
