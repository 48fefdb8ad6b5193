"""What the curve posterior says of curves whose end is known."""

import numpy as np
import pytest

from tensor_optix.core.curve_posterior import binned, curve_posterior, prior_curves

LEFT = 0.05


def exponential(n, ticks_to_95, noise=0.02, seed=0):
    rng = np.random.default_rng(seed)
    return 1 - np.exp(-3 * np.arange(1, n + 1) / ticks_to_95) + noise * rng.normal(size=n)


def test_a_curve_in_mid_rise_is_not_done_and_a_long_plateau_is():
    y = exponential(300, 60)
    assert curve_posterior(y[:30], share_left=LEFT).p_done < 0.05
    assert curve_posterior(y, share_left=LEFT).p_done > 0.95


def test_doubt_shrinks_as_the_plateau_grows():
    y = exponential(400, 60)
    p = [curve_posterior(y[:n], share_left=LEFT).p_done for n in (60, 100, 200, 400)]
    assert p == sorted(p)


def test_learning_is_evident_and_noise_is_not():
    noise = np.random.default_rng(0).normal(size=100)
    assert curve_posterior(exponential(100, 40), share_left=LEFT).log_evidence > 20
    assert curve_posterior(noise, share_left=LEFT).log_evidence < 3


def test_a_falling_series_is_no_evidence_of_learning():
    assert curve_posterior(-exponential(100, 40), share_left=LEFT).log_evidence < 1e-6


def test_scores_that_never_varied_say_nothing():
    said = curve_posterior(np.full(50, -200.0), share_left=LEFT)
    assert (said.p_done, said.log_evidence) == (0.0, 0.0)


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, -1e4)])
def test_scale_and_shift_change_nothing(scale, shift):
    y = exponential(80, 40, noise=0.1)
    here, there = (curve_posterior(z, share_left=LEFT) for z in (y, scale * y + shift))
    assert there.p_done == pytest.approx(here.p_done, abs=1e-9)
    assert there.log_evidence == pytest.approx(here.log_evidence, abs=1e-6)


def test_every_score_counts_once_however_the_bins_fall():
    y = np.random.default_rng(0).normal(size=37)
    assert np.mean(binned(y)) == pytest.approx(np.mean(y))
    np.testing.assert_allclose(binned(np.arange(128.0)), np.arange(64) * 2 + 0.5)


def test_the_prior_is_the_same_every_time_and_cannot_be_changed():
    again = prior_curves.__wrapped__()
    np.testing.assert_array_equal(again.shape, prior_curves().shape)
    with pytest.raises(ValueError, match="read-only"):
        prior_curves().done[0] = 1.0


def test_prior_curves_rise_and_are_never_more_than_done():
    curves = prior_curves()
    assert len(curves.done) == pytest.approx(4000, abs=5)
    assert np.all((curves.done >= 0) & (curves.done <= 1 + 1e-12))
    assert np.all(curves.shape[:, -1] >= curves.shape[:, 0] - 1e-9)
