"""Every loss against numbers worked out by hand; NumPy only."""

import math

import numpy as np
import pytest

from tensor_optix.algorithms.losses import (
    dqn_loss,
    dqn_td_errors,
    gaussian_ppo_estimates,
    gaussian_ppo_loss,
    huber,
    policy_change,
    policy_gradient_loss,
    ppo_estimates,
    ppo_loss,
    ppo_surrogate,
    sac_actor_loss,
    sac_alpha_loss,
    sac_critic_loss,
    sac_td_errors,
    squared_error,
)
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


# -- Gaussian PPO ----------------------------------------------------------------------------------------------------


def test_the_gaussian_ppo_loss_adds_its_three_terms():
    head, values, u = np.array([[0.5, 0.0]]), np.array([[1.0]]), np.array([[0.5]])
    networks = {"actor": lambda x: head, "critic": lambda x: values}
    log_prob = -0.5 * math.log(2 * math.pi) - math.log(1 - math.tanh(0.5) ** 2)  # at the mean, σ = 1
    batch = {
        "observation": np.zeros((1, 1)), "pre_squash": u, "log_prob": np.array([log_prob - math.log(1.1)]),
        "advantage": np.array([2.0]), "return": np.array([3.0]),
    }  # fmt: skip
    scalars = {"clip_ratio": 0.2, "vf_coef": 0.5, "entropy_coef": 0.1}
    loss, metrics = gaussian_ppo_loss(OPS, networks, batch, scalars)
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    assert metrics["policy_loss"] == pytest.approx(-1.1 * 2.0)
    assert metrics["value_loss"] == pytest.approx(4.0)
    assert metrics["entropy"] == pytest.approx(entropy)
    assert loss == pytest.approx(-2.2 + 0.5 * 4.0 - 0.1 * entropy)
    estimates = gaussian_ppo_estimates(OPS, networks, batch)
    assert estimates["log_prob"][0] == pytest.approx(log_prob)
    assert estimates["value"][0] == pytest.approx(1.0)


# -- DQN -------------------------------------------------------------------------------------------------------------

Q, NEXT_Q, NEXT_TARGET = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[5.0, 4.0]] * 2), np.array([[1.0, 7.0]] * 2)
NETWORKS = {"q": lambda x: Q if x[0, 0] == 0 else NEXT_Q, "q_target": lambda x: NEXT_TARGET}
REPLAYED = {
    "observation": np.zeros((2, 1)), "next_observation": np.ones((2, 1)), "action": np.array([1, 0]),
    "reward": np.array([0.5, -1.0]), "discount": np.array([0.9, 0.0]), "weight": np.array([1.0, 0.5]),
}  # fmt: skip
MAX_ERRORS = [2.0 - (0.5 + 0.9 * 7.0), 3.0 - (-1.0)]  # the target's own best action; the second row is terminal
DOUBLE_ERRORS = [2.0 - (0.5 + 0.9 * 1.0), 4.0]  # the online network's best action, valued by the target


@pytest.mark.parametrize(("double", "errors"), [(False, MAX_ERRORS), (True, DOUBLE_ERRORS)])
def test_the_td_error_bootstraps_from_the_right_action_and_not_past_the_end(double, errors):
    np.testing.assert_allclose(dqn_td_errors(double)(OPS, NETWORKS, REPLAYED)["td_error"], errors)
    loss, metrics = dqn_loss(double, False)(OPS, NETWORKS, REPLAYED, {})
    assert loss == pytest.approx((errors[0] ** 2 + 0.5 * errors[1] ** 2) / 2)
    assert metrics["td_error_mean"] == pytest.approx(np.mean(np.abs(errors)))


def test_the_huber_loss_is_quadratic_inside_and_linear_outside():
    np.testing.assert_allclose(huber(OPS, np.array([0.5, -1.0, 3.0, -3.0])), [0.125, 0.5, 2.5, 2.5])
    loss, _ = dqn_loss(False, True)(OPS, NETWORKS, REPLAYED, {})
    assert loss == pytest.approx((4.8 - 0.5 + 0.5 * 3.5) / 2)


def test_one_choice_of_the_q_loss_is_one_function():
    assert dqn_loss(True, False) is dqn_loss(True, False)
    assert dqn_loss(True, False) is not dqn_loss(True, True)


# -- SAC: everything at μ = 0, σ = 1, ε = 0, where tanh(u) = 0 and log π = -log(2π) / 2 ------------------------------

LOG_PROB = -0.5 * math.log(2 * math.pi)
ALPHA = 0.5
SAC_NETWORKS = {
    "actor": lambda x: np.zeros((len(x), 2)), "log_alpha": lambda x: np.array(math.log(ALPHA)),
    "critic1": lambda x: 1.0 + x[:, :1] + x[:, 1:], "critic2": lambda x: 2.0 + 0 * x[:, :1],
    "target1": lambda x: 4.0 + 0 * x[:, :1], "target2": lambda x: 3.0 + 0 * x[:, :1],
}  # fmt: skip
SAC_BATCH = {
    "observation": np.array([[10.0]]), "action": np.array([[0.5]]), "next_observation": np.array([[0.0]]),
    "reward": np.array([1.0]), "discount": np.array([0.9]), "weight": np.array([0.5]),
    "noise": np.zeros((1, 1)), "next_noise": np.zeros((1, 1)),
}  # fmt: skip
Y = 1.0 + 0.9 * (3.0 - ALPHA * LOG_PROB)


def test_the_critics_learn_the_soft_value_of_the_lesser_target():
    loss, _ = sac_critic_loss(OPS, SAC_NETWORKS, SAC_BATCH, {})
    assert loss == pytest.approx(0.5 * (11.5 - Y) ** 2 + 0.5 * (2.0 - Y) ** 2)
    errors = sac_td_errors(OPS, SAC_NETWORKS, SAC_BATCH)["td_error"]
    np.testing.assert_allclose(errors, [(abs(11.5 - Y) + abs(2.0 - Y)) / 2])


def test_a_terminal_row_learns_its_reward_only():
    errors = sac_td_errors(OPS, SAC_NETWORKS, {**SAC_BATCH, "discount": np.array([0.0])})["td_error"]
    np.testing.assert_allclose(errors, [(10.5 + 1.0) / 2])


def test_the_actor_seeks_the_lesser_value_and_entropy():
    loss, metrics = sac_actor_loss(OPS, SAC_NETWORKS, SAC_BATCH, {})
    assert loss == pytest.approx(ALPHA * LOG_PROB - 2.0)
    assert metrics["entropy"] == pytest.approx(-LOG_PROB)


def test_the_temperature_rises_while_the_entropy_is_below_its_target():
    def loss(log_alpha, target_entropy):
        networks = {**SAC_NETWORKS, "log_alpha": lambda x: np.array(log_alpha)}
        return sac_alpha_loss(OPS, networks, SAC_BATCH, {"target_entropy": target_entropy})[0]

    assert loss(math.log(ALPHA), 0.0) == pytest.approx(-ALPHA * LOG_PROB)
    assert loss(0.1, 2.0) < loss(0.0, 2.0)  # entropy 0.92 is below 2: more α, less loss
    assert loss(0.1, 0.0) > loss(0.0, 0.0)


# -- policy gradient -------------------------------------------------------------------------------------------------


def test_the_policy_gradient_weighs_log_probs_by_their_targets():
    networks = {"model": lambda x: np.log([[0.75, 0.25], [0.5, 0.5]])}
    batch = {"observation": np.zeros((2, 1)), "action": np.array([0, 1]), "target": np.array([2.0, -1.0])}
    loss, _ = policy_gradient_loss(OPS, networks, batch, {})
    assert loss == pytest.approx(-(2 * math.log(0.75) - math.log(0.5)) / 2)
