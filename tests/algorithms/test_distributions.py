import math

import numpy as np
import pytest

from tensor_optix.algorithms.distributions import (
    categorical_entropy,
    categorical_log_prob,
    sample_categorical,
    softmax,
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
