"""Choosing the best of noisily scored policies."""

import numpy as np
import pytest

from tensor_optix.core.selection import (
    confirm_degradation,
    confirm_without_evaluation,
    halving_schedule,
    is_better,
    seeds_needed,
    sequential_halving,
)
from tensor_optix.core.statistics import level_at


def test_a_lucky_policy_among_mediocre_neighbours_is_not_the_best():
    scores = [0.0, 0.4, 0.1, 3.0, 0.0, -0.4, 0.3, 2.0, 2.3, 1.8, 2.0, 2.4]
    levels = [level_at(scores, at) for at in range(len(scores))]
    assert max(range(12), key=levels.__getitem__) >= 7
    assert max(range(12), key=scores.__getitem__) == 3


@pytest.mark.parametrize(
    ("n", "schedule"), [(1, []), (2, [8]), (3, [2, 4]), (4, [2, 4])], ids=["one", "two", "three", "four"]
)
def test_the_rounds_cost_about_the_same(n, schedule):
    assert halving_schedule(n) == schedule
    assert seeds_needed(n) == sum(schedule)


def test_all_of_a_round_get_the_same_fresh_seeds():
    asked = []

    def evaluate(key, seeds):
        asked.append((key, tuple(seeds)))
        return [float(key)] * len(seeds)

    result = sequential_halving([7, 3, 9, 1], evaluate, range(100, 106))
    assert result.winner == 9
    assert asked[:4] == [(key, (100, 101)) for key in (7, 3, 9, 1)]
    assert {seeds for _, seeds in asked[4:]} == {(102, 103, 104, 105)}
    assert {key for key, _ in asked[4:]} == {9, 7}
    assert result.seeds == tuple(range(100, 106))
    assert result.rounds == ((7, 3, 9, 1), (9, 7))


def test_a_single_candidate_wins_without_an_evaluation():
    result = sequential_halving([5], lambda *_: pytest.fail("nothing to compare"), [])
    assert (result.winner, result.seeds) == (5, ())


def test_ties_go_to_the_more_promising():
    assert sequential_halving([4, 2, 8, 6], lambda key, seeds: [1.0] * len(seeds), range(6)).winner == 4


def test_halving_regrets_less_than_taking_the_largest_score():
    """Four candidates within one sd of a score, seeds shared: the confirmed choice is nearer to the best."""
    rng = np.random.default_rng(0)
    halved, taken = [], []
    for _ in range(300):
        truth = rng.normal(size=4)
        luck = rng.normal(size=(4, 6))
        common = 3 * rng.normal(size=6)
        first = truth + rng.normal(size=4)
        order = [int(i) for i in np.argsort(-first)]
        result = sequential_halving(
            order, lambda key, seeds, t=truth, s=luck, c=common: [t[key] + s[key, i] + c[i] for i in seeds], range(6)
        )
        halved.append(truth.max() - truth[result.winner])
        taken.append(truth.max() - truth[order[0]])
    assert np.mean(halved) < 0.6 * np.mean(taken)


def test_a_difference_is_proven_by_pairs():
    rng = np.random.default_rng(0)
    common = 50 * rng.normal(size=12)
    assert is_better(common + 2 + 0.1 * rng.normal(size=12), common).is_proven
    assert not is_better(common, common + 2 + 0.1 * rng.normal(size=12)).is_proven


def test_few_pairs_prove_nothing():
    assert not is_better([10.0] * 9, [0.0] * 9).is_proven
    assert is_better([10.0] * 10, [0.0] * 10).is_proven


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="as many scores of both, got 3 and 2"):
        is_better([1.0] * 3, [1.0] * 2)


def test_equal_policies_are_hardly_ever_told_apart():
    rng = np.random.default_rng(1)
    proven = [is_better(rng.normal(size=10), rng.normal(size=10)).is_proven for _ in range(400)]
    assert np.mean(proven) <= 0.06


def test_a_degradation_is_confirmed_only_where_the_best_is_really_better():
    rng = np.random.default_rng(0)
    seeds = 5 * rng.normal(size=10)
    best, fallen = seeds + rng.normal(size=10), seeds - 30 + rng.normal(size=10)
    assert confirm_degradation(best, fallen).is_confirmed
    assert not confirm_degradation(best, best + rng.normal(size=10)).is_confirmed
    assert "on 10 common seeds" in confirm_degradation(best, fallen).explanation


def test_without_evaluations_the_alarm_must_persist():
    assert not confirm_without_evaluation(15.0, 8.0).is_confirmed
    assert confirm_without_evaluation(17.0, 8.0).is_confirmed
