"""Gaussian PPO, seen through its PyTorch leaf."""

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_agents import adam, make, mlp, one_step_episodes, window  # noqa: E402

from tensor_optix.algorithms.distributions import squashed_log_prob  # noqa: E402
from tensor_optix.algorithms.torch_ppo_continuous import TorchGaussianPPOAgent  # noqa: E402
from tensor_optix.backends.numpy_backend import NumpyOps  # noqa: E402
from tensor_optix.core.types import HyperparamSet  # noqa: E402
from tensor_optix.errors import ConfigError  # noqa: E402


def test_it_learns_to_repeat_what_it_sees():
    """The identity task: reward -(a - o)², whose best policy is a = o."""
    agent = make("gaussian ppo", 1, {"learning_rate": 5e-3, "gamma": 0.5, "entropy_coef": 0.0, "n_epochs": 5}, dim=1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        observations = rng.uniform(-0.8, 0.8, (256, 1)).astype(np.float32)
        actions, extras = agent.act_batch(observations, rng=rng)
        agent.learn(one_step_episodes(observations, actions, -((actions - observations) ** 2)[:, 0], extras))
    probes = np.linspace(-0.7, 0.7, 5)[:, None]
    actions, _ = agent.act_batch(probes, rng=rng, deterministic=True)
    np.testing.assert_allclose(actions, probes, atol=0.15)


def test_the_first_ratio_is_one_even_where_tanh_has_saturated():
    agent = make("gaussian ppo", 4, {"n_epochs": 1, "minibatch_size": 80})
    with torch.no_grad():
        agent.actor[2].bias[:2] += 20.0  # tanh(20) is 1 in float32
    data = window(agent)
    assert np.all(data.actions[:, 0] == 1.0)
    diagnostics = agent.learn(data)
    assert diagnostics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert diagnostics["clip_fraction"] == 0.0


def test_without_extras_the_pre_squash_actions_are_recomputed():
    agent, other = make("gaussian ppo"), make("gaussian ppo")
    data = window(agent)
    with_extras = agent.learn(data)
    data.extras = {}
    assert other.learn(data) == pytest.approx(with_extras, rel=1e-2, abs=1e-3)


def test_sampled_actions_follow_the_squashed_gaussian():
    agent = make("gaussian ppo", 1, dim=1)
    observation = np.array([[0.3]], np.float32)
    actions, extras = agent.act_batch(np.repeat(observation, 4000, axis=0), rng=np.random.default_rng(0))
    head = np.repeat(agent._learner.forward("actor", observation), 4000, axis=0)
    log_prob = squashed_log_prob(NumpyOps(), head, extras["pre_squash"])
    np.testing.assert_allclose(actions, np.tanh(extras["pre_squash"]))
    # E[1 / π(a)] over actions is the length of (-1, 1), whatever π is (within what the tails are worth)
    inside = np.abs(actions[:, 0]) < 0.9
    assert np.sum(np.exp(-log_prob[inside])) / 4000 == pytest.approx(1.8, rel=0.05)


def test_the_best_guess_is_the_squashed_mean():
    agent = make("gaussian ppo")
    observation = np.ones((1, 4), np.float32)
    expected = np.tanh(agent._learner.forward("actor", observation)[0, :2])
    np.testing.assert_allclose(agent.act(observation[0], deterministic=True), expected, rtol=1e-5)
    assert agent.action_probs(observation[0]) is None


def box(*shape):
    return gym.spaces.Box(-2.0, 2.0, shape)


def test_fitting_spaces_pass():
    make("gaussian ppo").check_spaces(box(4), box(2))


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (box(4), gym.spaces.Discrete(3), "continuous actions, but .* Discrete"),
        (box(4), box(3), r"action_dim is 2, but the environment's actions have shape \(3,\)"),
        (box(7), box(2), r"actor does not take .* shape \(7,\)"),
    ],
)
def test_spaces_that_do_not_fit_are_explained(observations, actions, message):
    with pytest.raises(ConfigError, match=message):
        make("gaussian ppo").check_spaces(observations, actions)


def test_a_box_to_which_the_unit_box_cannot_be_scaled_is_refused():
    half_open = gym.spaces.Box(np.float32([0.0, 0.0]), np.float32([np.inf, 1.0]))
    with pytest.raises(ConfigError, match="some bounds are infinite"):
        make("gaussian ppo").check_spaces(box(4), half_open)
    make("gaussian ppo").check_spaces(box(4), gym.spaces.Box(-np.inf, np.inf, (2,)))
    make("gaussian ppo").check_spaces(box(4), gym.spaces.Box(0.0, 3e38, (2,)))


def test_an_actor_without_deviations_is_refused():
    actor, critic = mlp(4, 2), mlp(4, 1)
    agent = TorchGaussianPPOAgent(actor, critic, adam(actor, critic), 2, HyperparamSet({}), device="cpu")
    with pytest.raises(ConfigError, match=r"actor gives 2 outputs but it needs a mean and a log_std .* must be 4"):
        agent.check_spaces(box(4), box(2))


@pytest.mark.parametrize("action_dim", [0, 1.5, True, "2"])
def test_an_impossible_action_dim_is_refused(action_dim):
    actor, critic = mlp(4, 2), mlp(4, 1)
    with pytest.raises(ConfigError, match="action_dim must be a whole number"):
        TorchGaussianPPOAgent(actor, critic, adam(actor, critic), action_dim, HyperparamSet({}), device="cpu")


def test_the_epochs_end_when_the_policy_has_moved_far_enough():
    free = make("gaussian ppo", 4, {"learning_rate": 1e-2, "minibatch_size": 20}).learn(
        window(make("gaussian ppo"))
    )
    agent = make("gaussian ppo", 4, {"learning_rate": 1e-2, "minibatch_size": 20, "target_kl": 0.01})
    stopped = agent.learn(window(agent))
    assert free["n_updates"] == 40
    assert stopped["n_updates"] < 40
    assert stopped["n_updates"] % 4 == 0
    assert stopped["approx_kl"] > 0.015


def test_the_published_example_runs():
    obs_dim, act_dim = 8, 2
    actor = nn.Sequential(nn.Linear(obs_dim, 64), nn.Tanh(), nn.Linear(64, act_dim * 2))
    critic = nn.Sequential(nn.Linear(obs_dim, 64), nn.Tanh(), nn.Linear(64, 1))
    agent = TorchGaussianPPOAgent(
        actor=actor, critic=critic,
        optimizer=torch.optim.Adam(list(actor.parameters()) + list(critic.parameters()), lr=3e-4),
        action_dim=act_dim,
        hyperparams=HyperparamSet(params={
            "learning_rate": 3e-4, "clip_ratio": 0.2, "entropy_coef": 0.01,
            "gamma": 0.99, "gae_lambda": 0.95, "n_epochs": 10, "minibatch_size": 64,
        }, episode_id=0),
    )  # fmt: skip
    assert agent.act(np.zeros(obs_dim)).shape == (2,)
    assert agent.actor is agent._actor is actor
