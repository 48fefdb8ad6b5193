"""SAC, seen through its PyTorch leaf."""

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_agents import adam, make, mlp, one_step_episodes, sac, weights_of, window  # noqa: E402

from tensor_optix.algorithms.torch_sac import TorchSACAgent  # noqa: E402
from tensor_optix.core.types import HyperparamSet  # noqa: E402
from tensor_optix.errors import ConfigError, NonFiniteError  # noqa: E402


def test_it_learns_to_repeat_what_it_sees():
    """The identity task: reward -(a - o)², whose best policy is a = o."""
    params = {"learning_rate": 1e-2, "gamma": 0.5, "batch_size": 64, "updates_per_step": 1.0, "learning_starts": 128}
    agent = make("sac", 1, params, dim=1)
    rng = np.random.default_rng(0)
    for _ in range(16):
        observations = rng.uniform(-0.8, 0.8, (64, 1)).astype(np.float32)
        actions, _ = agent.act_batch(observations, rng=rng)
        agent.learn(one_step_episodes(observations, actions, -((actions - observations) ** 2)[:, 0]))
    probes = np.linspace(-0.7, 0.7, 5)[:, None]
    actions, _ = agent.act_batch(probes, rng=rng, deterministic=True)
    np.testing.assert_allclose(actions, probes, atol=0.2)


# -- warm-up ---------------------------------------------------------------------------------------------------------


def test_warm_up_acts_at_random_and_learns_nothing():
    agent = make("sac", 4, {"learning_starts": 100})
    before = weights_of(agent)
    assert agent.warming_up
    actions, _ = agent.act_batch(np.tile(np.ones(4), (4000, 1)), rng=np.random.default_rng(0))
    np.testing.assert_allclose(actions.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(actions.var(axis=0), 1 / 3, atol=0.03)  # uniform on (-1, 1)
    assert agent.learn(window(agent, 60))["n_updates"] == 0
    assert all(np.array_equal(before[key], array) for key, array in weights_of(agent).items())
    diagnostics = agent.learn(window(agent, 60))
    assert diagnostics["n_updates"] == 5  # a quarter of the 20 steps past the warm-up
    assert not agent.warming_up


def test_deterministic_actions_are_the_policys_in_warm_up_too():
    agent = make("sac", 4, {"learning_starts": 100})
    expected = np.tanh(agent._learner.forward("actor", np.ones((1, 4), np.float32))[0, :2])
    np.testing.assert_allclose(agent.act(np.ones(4), deterministic=True), expected, rtol=1e-5)


def test_by_default_a_thousand_steps_warm_up():
    assert TorchSACAgent.space.defaults["learning_starts"] == 1000


# -- temperature -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "direction"), [(50.0, 1), (-50.0, -1)])
def test_the_temperature_moves_the_entropy_towards_its_target(target, direction):
    agent = make("sac", 4, {"target_entropy": target, "learning_rate": 1e-2})
    before = agent.log_alpha.value.item()
    diagnostics = agent.learn(window(agent))
    assert np.sign(agent.log_alpha.value.item() - before) == direction
    assert diagnostics["alpha"] == pytest.approx(1.0, abs=0.3)


def test_the_target_entropy_is_minus_the_number_of_action_dimensions():
    agent = make("sac")
    assert agent._scalars(agent._params, 1)["target_entropy"] == -2.0


def test_the_temperature_starts_where_it_is_told():
    agent = sac(4, {"log_alpha_init": -1.5})
    assert float(agent.log_alpha.value.detach()) == -1.5
    with pytest.raises(ConfigError, match="log_alpha_init must be a number"):
        sac(4, {"log_alpha_init": "warm"})


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop])
def test_any_class_of_optimizer_trains_the_temperature(kind):
    actor, critic1, critic2 = mlp(4, 4), mlp(6, 1), mlp(6, 1)
    stranger = nn.Parameter(torch.zeros(3))
    agent = TorchSACAgent(
        actor, critic1, critic2, 2, adam(actor), adam(critic1, critic2), kind([stranger], lr=1e-2),
        {"batch_size": 16, "learning_starts": 0, "updates_per_step": 0.1}, device="cpu",
    )  # fmt: skip
    agent.learn(window(agent))
    assert float(agent.log_alpha.value.detach()) != 0.0
    assert torch.equal(stranger, torch.zeros(3))
    assert type(agent._learner.optimizers["alpha_optimizer"]) is kind
    # one learning rate in the ratio that the optimizers were given with
    rates = [optimizer.param_groups[0]["lr"] for optimizer in agent._learner.optimizers.values()]
    assert rates == pytest.approx([3e-4, 3e-4, 1e-2])
    agent.set_hyperparams(HyperparamSet({"learning_rate": 6e-4}))
    rates = [optimizer.param_groups[0]["lr"] for optimizer in agent._learner.optimizers.values()]
    assert rates == pytest.approx([6e-4, 6e-4, 2e-2])


def test_a_scheduler_of_the_temperatures_optimizer_is_followed():
    actor, critic1, critic2 = mlp(4, 4), mlp(6, 1), mlp(6, 1)
    given = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LambdaLR(given, lambda n: float(n))  # warms up from 0
    agent = TorchSACAgent(
        actor, critic1, critic2, 2, adam(actor), adam(critic1, critic2), given,
        {"batch_size": 16, "learning_starts": 0, "updates_per_step": 0.1}, device="cpu",
    )  # fmt: skip
    agent.learn(window(agent))
    assert float(agent.log_alpha.value.detach()) == 0.0
    scheduler.step()
    agent.learn(window(agent, seed=1))
    assert float(agent.log_alpha.value.detach()) != 0.0


def test_an_optimizer_that_trains_the_actor_too_goes_on_doing_so():
    actor, critic1, critic2 = mlp(4, 4), mlp(6, 1), mlp(6, 1)
    shared = adam(actor)
    torch.optim.lr_scheduler.LambdaLR(shared, lambda n: 1.0)
    params = {"batch_size": 16, "learning_starts": 0, "updates_per_step": 0.1}
    agent = TorchSACAgent(actor, critic1, critic2, 2, shared, adam(critic1, critic2), shared, params, device="cpu")
    before = actor[0].weight.detach().clone()
    agent.learn(window(agent))
    assert not torch.equal(actor[0].weight, before)
    assert float(agent.log_alpha.value.detach()) != 0.0


# -- learning --------------------------------------------------------------------------------------------------------


def test_diagnostics_have_the_published_names():
    agent = make("sac")
    diagnostics = agent.learn(window(agent))
    assert {"actor_loss", "critic_loss", "alpha", "buffer_size", "entropy", "n_updates"} <= set(diagnostics)
    assert all(np.isfinite(value) for value in diagnostics.values())


def test_targets_follow_softly():
    agent = make("sac", 4, {"tau": 0.5, "batch_size": 79})
    before = agent.policy_state()["networks"]
    assert agent.learn(window(agent, 83))["n_updates"] == 1
    after = agent.policy_state()["networks"]
    for key, target in after["target1"].items():
        np.testing.assert_allclose(target, 0.5 * after["critic1"][key] + 0.5 * before["target1"][key], atol=1e-7)


def test_priorities_and_several_steps_are_learned_from():
    agent = make("sac", 4, {"per_alpha": 0.6, "n_step": 3})
    assert agent.learn(window(agent))["n_updates"] == 16


@pytest.mark.parametrize("bad", [np.nan, 2.0])
def test_an_action_that_is_none_is_refused_before_the_replay_holds_it(bad):
    agent = make("sac")
    broken = window(agent)
    broken.actions[3, 1] = bad
    with pytest.raises((NonFiniteError, ConfigError), match=r"at actions\[3, 1\]"):
        agent.learn(broken)
    assert len(agent._replay) == 0


def test_it_learns_and_says_what_it_is():
    agent = make("sac")
    assert not agent.is_on_policy
    assert agent.default_min_episodes_before_dormant == 30
    assert agent.default_log_params == ["learning_rate", "tau"]
    assert (agent.LOG_STD_MIN, agent.LOG_STD_MAX) == (-5.0, 2.0)
    assert agent._c1_tgt is agent._learner.networks["target1"]


def test_the_published_example_runs_here_too():
    """Its keywords and hyperparameters, with PyTorch's networks and optimizers, and the default of ``device``."""
    obs_dim, action_dim = 27, 6
    actor = nn.Sequential(nn.Linear(obs_dim, 256), nn.ReLU(), nn.Linear(256, action_dim * 2))
    critic1, critic2 = (
        nn.Sequential(nn.Linear(obs_dim + action_dim, 256), nn.ReLU(), nn.Linear(256, 1)) for _ in range(2)
    )
    agent = TorchSACAgent(
        actor=actor, critic1=critic1, critic2=critic2,
        action_dim=action_dim,
        actor_optimizer=torch.optim.Adam(actor.parameters(), lr=3e-4),
        critic_optimizer=torch.optim.Adam([*critic1.parameters(), *critic2.parameters()], lr=3e-4),
        alpha_optimizer=torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=3e-4),
        hyperparams=HyperparamSet(params={
            "learning_rate": 3e-4, "gamma": 0.99,
            "tau": 0.005, "batch_size": 256,
            "replay_capacity": 1_000_000,
        }, episode_id=0),
    )  # fmt: skip
    action = agent.act(np.zeros(obs_dim))
    assert action.shape == (action_dim,)
    assert np.abs(action).max() < 1.0
    agent.teardown()
    assert agent.act(np.zeros(obs_dim)).shape == (action_dim,)


# -- borders ---------------------------------------------------------------------------------------------------------


def box(*shape):
    return gym.spaces.Box(-2.0, 2.0, shape)


def test_fitting_spaces_pass():
    make("sac").check_spaces(box(4), box(2))


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (box(4), gym.spaces.Discrete(3), "continuous actions"),
        (box(4), box(3), "action_dim is 2"),
        (box(7), box(2), "actor does not take"),
    ],
)
def test_spaces_that_do_not_fit_are_explained(observations, actions, message):
    with pytest.raises(ConfigError, match=message):
        make("sac").check_spaces(observations, actions)


def test_a_critic_that_forgets_the_action_is_refused():
    actor, critic1, critic2 = mlp(4, 4), mlp(4, 1), mlp(6, 1)
    agent = TorchSACAgent(
        actor, critic1, critic2, 2, adam(actor), adam(critic1, critic2), adam(nn.Linear(1, 1)), {}, device="cpu"
    )
    with pytest.raises(ConfigError, match=r"critic1 does not take \[observation ‖ action\] as one row of 6 numbers"):
        agent.check_spaces(box(4), box(2))
