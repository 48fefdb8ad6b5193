"""The synthetic curves are what they claim to be."""

import numpy as np
import pytest

from tensor_optix.testing.learning_curves import FAMILIES, NOISES, learning_curve, noise


@pytest.mark.parametrize("family", FAMILIES)
def test_a_curve_rises_from_zero_to_one_and_is_at_95_percent_when_it_says(family):
    for seed in range(20):
        curve = learning_curve(family, np.random.default_rng(seed), n=3000, fast=40.0, slow=150.0)
        assert curve.level[0] < 0.25
        assert curve.level[-1] == pytest.approx(1.0, abs=0.02)
        assert np.all(np.diff(curve.level) > -1e-12)
        assert 38 <= curve.t95 <= 152
        assert curve.level[curve.t95 - 2] < 0.95 <= curve.level[curve.t95 - 1]


@pytest.mark.parametrize("kind", NOISES)
def test_noise_has_mean_zero_and_sd_one(kind):
    y = noise(kind, np.random.default_rng(0), 200_000)
    assert np.mean(y) == pytest.approx(0.0, abs=0.02)
    assert np.std(y) == pytest.approx(1.0, rel=0.08)


def test_bimodal_noise_fails_now_and_then():
    y = noise("bimodal", np.random.default_rng(0), 10_000)
    assert np.median(y) > 0.1
    assert np.mean(y < -1.0) == pytest.approx(0.15, abs=0.05)
