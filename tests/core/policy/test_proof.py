"""When a variant counts as better."""

import numpy as np
import pytest

from tensor_optix.core.policy.proof import FALSE_ADOPTIONS, proof_of, threshold_of

SEEDS = np.random.default_rng(1).normal(0, 5, 20)


def test_a_gain_that_is_small_against_the_luck_of_the_seeds_is_proven_because_both_share_it():
    jitter = np.random.default_rng(2).normal(0, 0.2, 20)
    assert proof_of(SEEDS + 1 + jitter, SEEDS, spawn=1, max_spawns=3).is_adopted


def test_equal_scores_prove_nothing():
    proof = proof_of(SEEDS, SEEDS, spawn=1, max_spawns=3)
    assert (proof.gain, proof.comparison.t, proof.is_adopted) == (0, 0, False)


def test_fewer_than_ten_pairs_prove_nothing_however_large_the_gain():
    assert not proof_of([100.0] * 9, [0.0] * 9, spawn=1, max_spawns=3).is_adopted
    assert not proof_of([], [], spawn=1, max_spawns=3).is_adopted


def test_the_threshold_is_two_at_least_and_grows_with_the_number_of_spawns():
    assert threshold_of(30, spawn=1, max_spawns=1) == 2.0
    assert 2.0 < threshold_of(30, spawn=1, max_spawns=3) < threshold_of(30, spawn=1, max_spawns=20)


def test_without_a_limit_the_chances_of_all_spawns_add_up_to_one_in_twenty():
    shares = [FALSE_ADOPTIONS / (k * (k + 1)) for k in range(1, 10_000)]
    assert sum(shares) == pytest.approx(FALSE_ADOPTIONS, rel=1e-3)
    assert threshold_of(30, spawn=5, max_spawns=None) > threshold_of(30, spawn=1, max_spawns=None)


def test_what_was_not_compared_says_why():
    assert "paid for no pair of episodes" in proof_of([], [], spawn=1, max_spawns=3).text
    few = proof_of([2.0] * 4, [0.0] * 4, spawn=1, max_spawns=3).text
    assert few == "not compared enough: +2 against its control on 4 common seeds, of which 10 are needed"
