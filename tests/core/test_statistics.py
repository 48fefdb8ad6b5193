"""Estimates against known truths."""

import numpy as np
import pytest

from tensor_optix.core.statistics import (
    best_mean,
    bootstrap_interval,
    cusum,
    interquartile_mean,
    learned_range,
    level_at,
    noise_sd,
    recent_gain,
    recent_noise_sd,
    stratified_interval,
    winsorised,
)


@pytest.mark.parametrize("slope", [0.0, 0.5, -3.0])
def test_the_noise_estimate_does_not_see_a_trend(slope):
    rng = np.random.default_rng(0)
    scores = slope * np.arange(4000) + 2.0 * rng.normal(size=4000)
    assert noise_sd(scores) == pytest.approx(2.0, rel=0.06)


def test_the_noise_estimate_survives_outliers():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=4000)
    scores[::50] += 1000
    assert noise_sd(scores) == pytest.approx(1.0, rel=0.15)


def test_too_few_scores_have_no_noise_estimate():
    assert noise_sd([1.0, 2.0, 3.0, 4.0]) == 0.0


def test_the_recent_noise_is_that_of_the_last_half():
    rng = np.random.default_rng(0)
    scores = np.concatenate([10 * rng.normal(size=2000), rng.normal(size=2000)])
    assert recent_noise_sd(scores) == pytest.approx(1.0, rel=0.06)


def test_one_catastrophic_score_is_pulled_in_and_the_bulk_left_alone():
    scores = np.arange(101.0)
    scores[3] = -1e6
    pulled = winsorised(scores)
    assert pulled[3] > -200
    np.testing.assert_array_equal(np.delete(pulled, 3), np.delete(scores, 3))


def test_the_best_mean_by_hand():
    assert best_mean([1, 5, 6, 1, 1], 2) == 5.5
    assert best_mean([1, 3], 5) == 2.0


def test_the_learned_range_by_hand():
    gain, error = learned_range([0.0, 1.0, 2.0, *[8.0] * 7], noise=3.0)
    assert gain == pytest.approx(8.0 - 1.0)
    assert error == pytest.approx(3.0 * (1 / 5 + 1 / 3) ** 0.5)


def test_the_recent_gain_by_hand():
    scores = [*[99.0] * 6, 1.0, 3.0, 5.0, 7.0]
    assert recent_gain(scores, 0.4, noise=2.0) == (4.0, 2.0)


@pytest.mark.parametrize(("scale", "shift"), [(4.0, 0.0), (0.25, 1024.0), (1.0, -4096.0)])
def test_every_estimate_moves_with_the_scale_and_not_with_the_shift(scale, shift):
    y = np.round(np.random.default_rng(1).normal(size=60) * 64) / 64  # exact in binary, so that shifting loses nothing
    z = scale * y + shift
    assert noise_sd(z) == scale * noise_sd(y)
    np.testing.assert_allclose(winsorised(z), scale * winsorised(y) + shift, rtol=1e-12)
    np.testing.assert_allclose(learned_range(z, scale), scale * np.array(learned_range(y, 1.0)), rtol=1e-9)
    np.testing.assert_allclose(recent_gain(z, 0.4, scale), scale * np.array(recent_gain(y, 0.4, 1.0)), rtol=1e-9)
    assert level_at(z.tolist(), 30) == pytest.approx(scale * level_at(y.tolist(), 30) + shift, rel=1e-12)


def test_a_cusum_adds_what_exceeds_the_allowance_and_never_falls_below_zero():
    assert cusum(1.0, 2.5, allowance=0.5) == 3.0
    assert cusum(1.0, -9.0, allowance=0.5) == 0.0


def test_the_level_of_a_policy_by_hand():
    scores = [9.0, 1.0, 2.0, 3.0, 4.0, 10.0]
    assert level_at(scores, 5) == 0.5 * 10 + 0.5 * 4.0
    assert level_at(scores, 0) == 0.5 * 9 + 0.5 * 3.8
    assert level_at([7.0], 0) == 7.0


def test_levels_choose_better_policies_than_scores_do():
    """Levels that climb, and wander from policy to policy; noise as large as half the climb."""
    rng = np.random.default_rng(3)
    by_score, by_level = [], []
    for _ in range(200):
        truth = np.linspace(0, 2, 60) + 0.3 * np.convolve(rng.normal(size=62), np.ones(3), "valid") / 3**0.5
        scores = (truth + rng.normal(size=60)).tolist()
        levels = [level_at(scores, at) for at in range(60)]
        by_score.append(truth[np.argmax(scores)])
        by_level.append(truth[np.argmax(levels)])
    assert np.mean(by_level) > np.mean(by_score) + 0.1


def test_the_interquartile_mean_by_hand():
    assert interquartile_mean([0, 1, 2, 100]) == 1.5
    assert interquartile_mean([3.0, 1.0, 2.0]) == pytest.approx(2.0)
    assert interquartile_mean([7.0]) == pytest.approx(7.0)


def test_the_bootstrap_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.normal(loc=3.0, size=20), rng, resamples=500)
        covered += low <= 3.0 <= high
    assert 0.88 <= covered / 300 <= 0.97


def test_identical_values_give_an_interval_of_no_width():
    assert bootstrap_interval([500.0] * 20, np.random.default_rng(0)) == (500.0, 500.0)


def test_the_stratified_interval_resamples_within_each_task():
    """Two tasks without variation inside: pooling them before resampling would give an interval of some width."""
    low, high = stratified_interval([[0.0] * 5, [1.0] * 5], np.random.default_rng(0), resamples=200)
    assert low == high == pytest.approx(0.5)
