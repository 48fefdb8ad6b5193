"""Effects of alternating experiments: found where they are, cancelled where only the policy moved."""

import numpy as np
import pytest

from tensor_optix.optimizers.effects import effect_of, pattern, speed_error
from tensor_optix.optimizers.finite_difference import gain_difference

SIGNS = pattern(6)


def curve(speed=0.0, level=0.0, noise=0.0, seed=0):
    """A rising, bending curve with an effect on its speed or its level."""
    t = np.arange(len(SIGNS) + 1)
    s = np.concatenate([[0], SIGNS])
    rng = np.random.default_rng(seed)
    return 3 + 0.2 * t - 0.003 * t**2 + speed * np.cumsum(s) + level * s + noise * rng.standard_normal(len(t))


def test_each_arm_comes_first_and_last_or_twice_in_the_middle():
    assert pattern(2) == (1, 1, -1, -1, -1, -1, 1, 1)


@pytest.mark.parametrize(("speed", "level"), [(0.05, 0.0), (-0.05, 0.0), (0.0, 0.4), (0.0, -0.4)])
def test_an_effect_on_speed_or_level_is_found_with_its_sign_and_size(speed, level):
    effect = effect_of(SIGNS, curve(speed, level, noise=0.01))
    assert effect.size == pytest.approx(speed or level, rel=0.1)
    assert abs(effect.t) > 5


def test_a_bending_curve_without_noise_or_effect_shows_nothing():
    assert effect_of(SIGNS, curve()).t == 0.0
    assert effect_of(SIGNS, [5.0] * 25).t == 0.0


def test_an_effect_without_noise_is_certain():
    assert effect_of(SIGNS, curve(speed=0.05)).t == np.inf


def test_noise_alone_is_significant_about_as_often_as_the_threshold_says():
    hits = [abs(effect_of(SIGNS, curve(noise=1.0, seed=seed)).t) > 2.4 for seed in range(400)]
    assert np.mean(hits) < 0.06


def test_a_random_walk_is_no_effect_either():
    """Consecutive policies share their luck; plain least squares sees an effect in a third of such walks."""
    walks = np.random.default_rng(0).standard_normal((400, 25)).cumsum(axis=1)
    assert np.mean([abs(effect_of(SIGNS, walk).t) > 2.4 for walk in walks]) < 0.25


def test_scale_and_shift_change_no_t_statistic():
    scores = curve(speed=0.05, noise=0.1)
    plain, moved = effect_of(SIGNS, scores), effect_of(SIGNS, 1000 * scores - 4e4)
    assert moved.t == pytest.approx(plain.t, rel=1e-6)
    assert moved.size == pytest.approx(1000 * plain.size, rel=1e-6)


def test_the_design_error_is_the_one_published_for_24_ticks():
    assert speed_error(SIGNS) == pytest.approx(0.082, abs=0.01)


def test_the_short_difference_cancels_a_parabola_and_sees_speed_and_level():
    t, s = np.arange(5.0), np.array([0, 1, -1, -1, 1])
    assert gain_difference(2 + 3 * t - 0.1 * t**2) == pytest.approx(0.0, abs=1e-12)
    assert gain_difference(3 * t + np.cumsum(s)) > 0
    assert gain_difference(3 * t + s) > 0
    assert gain_difference(3 * t - s) < 0
