"""Who takes over from whom: a table of cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tensor_optix.population.exchange import best_of, exchanged
from tests.search.surface import SPACE

NAN = math.nan


def sources(fitness: list[float], seed: int = 0) -> list[int]:
    params = [{"learning_rate": 1e-3 * (1 + i), "gamma": 0.99, "width": 16} for i in range(len(fitness))]
    return [move.source for move in exchanged(fitness, params, SPACE, np.random.default_rng(seed))]


@pytest.mark.parametrize(
    ("fitness", "expected"),
    [
        ([1.0, 4.0, 2.0, 3.0], [1, 1, 2, 3]),
        ([-3.0, -1.0], [1, 1]),  # negative scores rank like all others
        ([5.0, 5.0, 5.0, 5.0], [0, 1, 2, 3]),  # nobody takes over from one that is no better
        ([1.0, NAN, 2.0, 3.0], [0, 3, 2, 3]),  # without any score: the first to go
        ([NAN, NAN, NAN], [0, 1, 2]),
    ],
)
def test_the_worst_take_over_from_the_best(fitness, expected):
    assert sources(fitness) == expected


def test_of_ten_members_two_take_over_from_the_best_two():
    moved = {seed: sources([float(i) for i in range(10)], seed)[:2] for seed in range(20)}
    assert {source for pair in moved.values() for source in pair} == {8, 9}
    assert all(sources([float(i) for i in range(10)], seed)[2:] == list(range(2, 10)) for seed in range(5))


def test_whoever_takes_over_has_mutated_hyperparameters_inside_their_bounds_and_nobody_else_has():
    params = [{"learning_rate": 1e-3, "gamma": 0.99, "width": 16}] * 4
    for seed in range(200):
        plan = exchanged([0.0, 1.0, 2.0, 3.0], params, SPACE, np.random.default_rng(seed))
        new = plan[0].params
        assert new["learning_rate"] != 1e-3
        assert 1e-5 <= new["learning_rate"] <= 1e-1
        assert 0.9 <= new["gamma"] <= 0.9999
        assert new["width"] == 16  # not declared tunable
        assert [move.params for move in plan[1:]] == params[1:]


def test_the_best_is_the_first_of_equals_and_nobody_without_a_score():
    assert best_of([1.0, 3.0, 3.0]) == 1
    assert best_of([NAN, -3.0]) == 1
    assert best_of([NAN, NAN]) is None
