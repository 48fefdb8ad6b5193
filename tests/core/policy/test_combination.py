"""Combining actions: known by hand, and never by averaging ids."""

import numpy as np
import pytest

from tensor_optix.core.policy.combination import (
    boltzmann,
    medoid,
    product_of_policies,
    sample,
    weighted_mean,
    weighted_vote,
)


def test_the_product_of_two_policies_is_their_geometric_mean_normalised():
    left, right = np.array([[0.8, 0.2]]), np.array([[0.5, 0.5]])
    expected = np.sqrt([0.4, 0.1]) / np.sqrt([0.4, 0.1]).sum()
    assert product_of_policies(np.stack([left, right]), np.ones(2))[0] == pytest.approx(expected)


def test_a_member_of_weight_zero_has_no_say():
    left, right = np.array([[0.8, 0.2]]), np.array([[0.1, 0.9]])
    assert product_of_policies(np.stack([left, right]), np.array([1.0, 0.0]))[0] == pytest.approx([0.8, 0.2])


def test_a_member_that_is_certain_does_not_break_the_others():
    probabilities = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert product_of_policies(probabilities, np.ones(2))[0] == pytest.approx([0.5, 0.5])


def test_ids_are_voted_on_and_never_averaged():
    actions = np.array([[0, 0], [2, 2], [2, 0]])  # left, right, right: the mean would be "stay"
    assert weighted_vote(actions, np.ones(3)).tolist() == [2, 0]
    assert weighted_vote(actions, np.array([3.0, 1.0, 1.0])).tolist() == [0, 0]


def test_the_weighted_mean_is_the_documented_formula():
    actions = np.array([[[1.0, 0.0]], [[4.0, 2.0]]])
    assert weighted_mean(actions, np.array([1.0, 3.0])).tolist() == [[13 / 4, 6 / 4]]


def test_the_medoid_of_two_modes_is_one_of_them():
    actions = np.array([[[-1.0]], [[1.0]], [[0.9]]])
    assert medoid(actions, np.ones(3)).tolist() == [[0.9]]
    assert medoid(actions, np.array([9.0, 1.0, 1.0])).tolist() == [[-1.0]]


def test_where_the_mean_of_two_modes_is_the_worst_action_product_and_medoid_win():
    def reward(action: float) -> float:
        return abs(action)  # -1 and 1 pay, 0 does not

    modes = np.array([[[-1.0]], [[1.0]]])
    assert reward(weighted_mean(modes, np.ones(2))[0, 0]) == 0
    assert reward(medoid(modes, np.ones(2))[0, 0]) == 1
    pays = np.array([1.0, 0.0, 1.0])
    policies = np.array([[[0.9, 0.05, 0.05]], [[0.05, 0.05, 0.9]]])
    chosen = product_of_policies(policies, np.ones(2))[0]
    assert pays[chosen.argmax()] == 1
    assert pays[int(np.mean([0, 2]))] == 0  # what averaging ids would do


def test_q_values_on_any_scale_give_the_same_policy():
    q_values = np.array([[1.0, 2.0, 4.0], [0.0, 3.0, 1.0]])
    assert boltzmann(1000 * q_values - 7) == pytest.approx(boltzmann(q_values))
    assert boltzmann(q_values).argmax(axis=-1).tolist() == [2, 1]
    assert boltzmann(np.zeros((1, 4)))[0] == pytest.approx([0.25] * 4)


def test_samples_come_as_often_as_their_probability_says():
    ids = sample(np.tile([0.2, 0.0, 0.8], (4000, 1)), np.random.default_rng(0))
    assert np.bincount(ids, minlength=3) / 4000 == pytest.approx([0.2, 0.0, 0.8], abs=0.03)
