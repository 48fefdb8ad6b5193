import math

import numpy as np
import pytest

from tensor_optix.algorithms.distributions import (
    categorical_entropy,
    categorical_log_prob,
    gaussian_entropy,
    gaussian_log_prob,
    gaussian_parameters,
    sample_categorical,
    sample_gaussian,
    softmax,
    squashed_log_prob,
    squashed_sample,
    tanh_log_det,
    unsquashed,
)
from tensor_optix.backends.numpy_backend import NumpyOps

OPS = NumpyOps()


def test_log_prob_and_entropy_of_a_known_distribution():
    log_p = OPS.log_softmax(np.log([[0.2, 0.8]]) - 5.0)
    assert categorical_log_prob(OPS, log_p, np.array([1]))[0] == pytest.approx(math.log(0.8))
    assert categorical_entropy(OPS, log_p)[0] == pytest.approx(-(0.2 * math.log(0.2) + 0.8 * math.log(0.8)))


@pytest.mark.parametrize("n_rows", [1, 8])
def test_samples_have_the_frequencies_of_the_softmax(n_rows):
    probabilities = np.array([0.1, 0.2, 0.7])
    logits = np.tile(np.log(probabilities).astype(np.float32) + 2.0, (n_rows, 1))
    rng = np.random.default_rng(0)
    draws = np.concatenate([sample_categorical(logits, rng) for _ in range(16000 // n_rows)])
    np.testing.assert_allclose(np.bincount(draws) / len(draws), probabilities, atol=0.015)


def test_extreme_logits_neither_overflow_nor_warn():
    logits = np.array([[1e30, 0.0, -1e30]], dtype=np.float32)
    assert sample_categorical(logits, np.random.default_rng(0))[0] == 0
    np.testing.assert_allclose(softmax(logits), [[1.0, 0.0, 0.0]])


# -- squashed Gaussians ----------------------------------------------------------------------------------------------


def test_log_prob_and_entropy_of_a_known_gaussian():
    mean, log_std = np.array([[1.0, -2.0]]), np.log([[0.5, 3.0]])
    u = np.array([[2.0, -2.0]])  # two deviations off, and at the mean
    expected = -2.0 - math.log(0.5) - math.log(3.0) - math.log(2 * math.pi)
    assert gaussian_log_prob(OPS, mean, log_std, u)[0] == pytest.approx(expected)
    assert gaussian_entropy(OPS, log_std)[0] == pytest.approx(math.log(1.5) + math.log(2 * math.pi * math.e))


def test_the_log_deviation_is_clipped():
    mean, log_std = gaussian_parameters(OPS, np.array([[7.0, 8.0, -9.0, 9.0]]))
    assert (mean.tolist(), log_std.tolist()) == ([[7.0, 8.0]], [[-5.0, 2.0]])


def test_the_squashing_correction_is_exact_where_tanh_has_saturated():
    u = np.array([[0.3], [-2.0], [30.0], [-400.0]])
    expected = [math.log(1 - math.tanh(0.3) ** 2), math.log(1 - math.tanh(2.0) ** 2), 2 * math.log(2) - 60,
                2 * math.log(2) - 800]  # fmt: skip
    np.testing.assert_allclose(tanh_log_det(OPS, u), expected, rtol=1e-9)


def test_densities_of_squashed_actions_integrate_to_one():
    actions = np.linspace(-0.9999, 0.9999, 20001)
    head = np.tile([0.4, -0.5], (len(actions), 1))
    density = np.exp(squashed_log_prob(OPS, head, np.arctanh(actions)[:, None]))
    assert np.sum(density) * (actions[1] - actions[0]) == pytest.approx(1.0, abs=1e-3)


def test_a_reparameterized_sample_comes_with_its_own_log_prob():
    head, noise = np.array([[0.3, -0.2, 0.1, -1.0]]), np.array([[0.5, -1.5]])
    action, log_prob = squashed_sample(OPS, head, noise)
    u = [0.3 + math.exp(0.1) * 0.5, -0.2 - math.exp(-1.0) * 1.5]
    np.testing.assert_allclose(action, [np.tanh(u)])
    np.testing.assert_allclose(log_prob, squashed_log_prob(OPS, head, np.array([u])))


def test_gaussian_samples_have_the_moments_of_the_policy():
    head = np.tile(np.array([1.0, -1.0, math.log(0.5), math.log(2.0)], np.float32), (20000, 1))
    u = sample_gaussian(head, np.random.default_rng(0))
    assert u.dtype == np.float32
    np.testing.assert_allclose(u.mean(axis=0), [1.0, -1.0], atol=0.05)
    np.testing.assert_allclose(u.std(axis=0), [0.5, 2.0], rtol=0.03)


def test_unsquashing_inverts_tanh_and_survives_the_bounds():
    np.testing.assert_allclose(unsquashed(np.tanh([0.5, -1.5])), [0.5, -1.5], rtol=1e-5)
    assert np.isfinite(unsquashed(np.array([1.0, -1.0, 1.5]))).all()
