"""Estimates against known truths."""

import numpy as np
import pytest

from tensor_optix.core.statistics import best_mean, bootstrap_interval, noise_sd


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


def test_the_best_mean_by_hand():
    assert best_mean([1, 5, 6, 1, 1], 2) == 5.5
    assert best_mean([1, 3], 5) == 2.0


def test_the_bootstrap_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.normal(loc=3.0, size=20), rng, resamples=500)
        covered += low <= 3.0 <= high
    assert 0.88 <= covered / 300 <= 0.97


def test_identical_values_give_an_interval_of_no_width():
    assert bootstrap_interval([500.0] * 20, np.random.default_rng(0)) == (500.0, 500.0)
