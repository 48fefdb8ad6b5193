"""Every loss against numbers worked out by hand; NumPy only."""

import math

import numpy as np
import pytest

from tensor_optix.algorithms.losses import policy_change, ppo_estimates, ppo_loss, ppo_surrogate, squared_error
from tensor_optix.backends.numpy_backend import NumpyOps

OPS = NumpyOps()


def surrogate(ratio, advantage):
    return ppo_surrogate(OPS, np.log([ratio]), np.zeros(1), np.array([advantage]), 0.2)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.0, 2.0, -2.0), (1.5, 2.0, -2.4), (0.5, 2.0, -1.0), (1.5, -2.0, 3.0), (0.5, -2.0, 1.6)],
)
def test_the_surrogate_takes_the_pessimistic_of_ratio_and_clipped_ratio(ratio, advantage, expected):
    assert surrogate(ratio, advantage) == pytest.approx(expected)


@pytest.mark.parametrize(("ratio", "advantage", "is_flat"), [(1.5, 2.0, True), (0.5, -2.0, True), (1.5, -2.0, False)])
def test_the_surrogate_has_no_slope_where_it_is_clipped(ratio, advantage, is_flat):
    slope = (surrogate(ratio + 1e-4, advantage) - surrogate(ratio - 1e-4, advantage)) / 2e-4
    assert slope == pytest.approx(0.0 if is_flat else -advantage, abs=1e-6)


def test_the_value_loss_is_the_mean_square():
    assert squared_error(OPS, np.array([1.0, 3.0]), np.array([0.0, 1.0])) == pytest.approx(2.5)


def test_policy_change_measures_kl_and_clipping():
    log_prob = np.log([0.5, 0.9])
    change = policy_change(OPS, log_prob, np.log([0.5, 0.6]), 0.2)
    assert change["clip_fraction"] == pytest.approx(0.5)
    assert change["approx_kl"] == pytest.approx((0.5 - math.log(1.5)) / 2)


def test_the_ppo_loss_adds_its_three_terms():
    logits, values = np.log([[0.75, 0.25], [0.5, 0.5]]) + 3.0, np.array([[1.0], [2.0]])
    networks = {"actor": lambda x: logits, "critic": lambda x: values}
    batch = {
        "observation": np.zeros((2, 1)), "action": np.array([0, 1]), "log_prob": np.log([0.5, 0.5]),
        "advantage": np.array([1.0, -1.0]), "return": np.array([0.0, 0.0]),
    }  # fmt: skip
    loss, metrics = ppo_loss(OPS, networks, batch, {"clip_ratio": 0.2, "vf_coef": 0.5, "entropy_coef": 0.1})
    entropy = (-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) + math.log(2)) / 2
    assert metrics["policy_loss"] == pytest.approx(-(1.2 - 1.0) / 2)
    assert metrics["value_loss"] == pytest.approx(2.5)
    assert metrics["entropy"] == pytest.approx(entropy)
    assert loss == pytest.approx(-0.1 + 0.5 * 2.5 - 0.1 * entropy)
    estimates = ppo_estimates(OPS, networks, batch)
    np.testing.assert_allclose(estimates["log_prob"], np.log([0.75, 0.5]))
    np.testing.assert_allclose(estimates["value"], [1.0, 2.0])
