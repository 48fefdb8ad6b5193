"""DQN, seen through its PyTorch leaf."""

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch_agents import adam, dqn, make, mlp, one_step_episodes, same_weights, weights_of, window  # noqa: E402

from tensor_optix.algorithms.torch_dqn import TorchDQNAgent  # noqa: E402
from tensor_optix.core.hyperparams import LinearSchedule  # noqa: E402
from tensor_optix.core.types import EpisodeData, HyperparamSet  # noqa: E402
from tensor_optix.errors import ConfigError  # noqa: E402


@pytest.mark.parametrize("options", [{}, {"double": True, "huber": True, "target_tau": 0.05}, {"per_alpha": 0.6}])
def test_it_learns_to_repeat_what_it_sees(options):
    """The identity task: reward 1 when the action is the index of the observed one-hot state."""
    params = {"learning_rate": 1e-2, "epsilon": 0.5, "batch_size": 32, "updates_per_step": 0.5, **options}
    agent = make("dqn", 3, params)
    rng = np.random.default_rng(0)
    for _ in range(6):
        states = rng.integers(0, 3, 64)
        observations = np.eye(3, dtype=np.float32)[states]
        actions, _ = agent.act_batch(observations, rng=rng)
        diagnostics = agent.learn(one_step_episodes(observations, actions, actions == states))
    assert [agent.act(row, deterministic=True) for row in np.eye(3)] == [0, 1, 2]
    assert diagnostics["loss"] < 0.05
    # episodes of one step have no future: Q(s, a) is the reward
    np.testing.assert_allclose(agent._learner.forward("q", np.eye(3, dtype=np.float32)), np.eye(3), atol=0.3)


def corridor_window(rng, length, n_rows):
    """Walks at random along 0 .. length; action 1 steps right and gets 1 on arriving, action 0 stays."""
    position, rows, final = 0, [], {}
    for row in range(n_rows):
        action = int(rng.integers(2))
        following = position + action
        arrived = following == length
        rows.append((np.eye(length + 1, dtype=np.float32)[position], action, float(arrived), arrived))
        if arrived or row == n_rows - 1:
            final[row] = np.eye(length + 1, dtype=np.float32)[following]
        position = 0 if arrived else following
    observations, actions, rewards, ends = zip(*rows, strict=True)
    return EpisodeData(np.array(observations), np.array(actions), list(rewards), list(ends), [False] * n_rows,
                       [{}] * n_rows, 0, final_observations=final)  # fmt: skip


@pytest.mark.parametrize("double", [False, True])
def test_values_of_a_corridor_are_powers_of_gamma(double):
    """Q*(s, right) = γ^(length - s - 1), Q*(s, stay) = γ Q*(s, right)."""
    length, gamma = 3, 0.8
    torch.manual_seed(0)
    q = torch.nn.Linear(length + 1, 2, bias=False)
    params = {"gamma": gamma, "double": double, "batch_size": 64, "target_update_freq": 20}
    agent = TorchDQNAgent(q, 2, torch.optim.SGD(q.parameters(), lr=1.0), params, device="cpu")
    agent.seed(np.random.default_rng(0))
    rng = np.random.default_rng(0)
    for _ in range(5):
        agent.learn(corridor_window(rng, length, 128))
    values = agent._learner.forward("q", np.eye(length + 1, dtype=np.float32))[:length]
    right = gamma ** (length - 1.0 - np.arange(length))
    np.testing.assert_allclose(values, np.stack([gamma * right, right], axis=1), atol=0.02)


# -- how often -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 50, 200])
@pytest.mark.parametrize("per_step", [0.1, 0.25, 1.0, 1.5])
def test_updates_per_env_step_do_not_depend_on_the_window(size, per_step):
    agent = make("dqn", 4, {"updates_per_step": per_step, "learning_starts": 50, "batch_size": 4})
    whole = window(agent, 200)
    made = 0
    for start in range(0, 200, size):
        rows = slice(start, min(start + size, 200))
        part = EpisodeData(
            whole.observations[rows], whole.actions[rows], whole.rewards[rows], whole.terminated[rows],
            whole.truncated[rows], whole.infos[rows], 0, final_obs=np.zeros(4, np.float32),
        )  # fmt: skip
        made += agent.learn(part)["n_updates"]
        assert agent.warming_up == (start + size < 50)
    assert made == int(150 * per_step + 1e-9)


def test_nothing_is_learned_before_there_is_one_batch():
    agent = make("dqn", 4, {"batch_size": 32, "updates_per_step": 1.0})
    assert agent.learn(window(agent, 31))["n_updates"] == 0
    diagnostics = agent.learn(window(agent, 10))
    assert diagnostics["n_updates"] == 9  # for the steps past the 32nd
    assert "loss" in diagnostics


def test_a_burst_is_what_single_updates_would_have_been():
    params = {"updates_per_step": 1.0, "target_update_freq": 5}
    fused, single = make("dqn", 4, params), make("dqn", 4, params)
    data = window(fused, 60)
    for agent in (fused, single):
        agent._replay.add(data)
    fused._burst(32, fused._params)
    columns = make("dqn", 4, params)
    columns._replay.add(data)
    batch = columns._columns(columns._replay.sample(32, 16, rng=columns._streams.stream("replay")))
    for number in range(32):
        rows = np.arange(number * 16, (number + 1) * 16).reshape(1, 1, 16)
        tau = float((number + 1) % 5 == 0)
        single._learner.run(single._update(single._params), batch, rows, {"tau": tau}, max_grad_norm=10.0,
                            rng=np.random.default_rng(0))  # fmt: skip
    for (key, left), right in zip(weights_of(fused).items(), weights_of(single).values(), strict=True):
        np.testing.assert_allclose(left, right, atol=2e-6, err_msg=key)


def target_copies(params, n_windows=4):
    """After which updates the target was the online network."""
    agent = make("dqn", 4, {"batch_size": 8, "updates_per_step": 0.5, "learning_starts": 8, **params})
    copies, made = [], 0
    for seed in range(n_windows):
        for row in range(0, 80, 2):  # windows of two steps are one update each
            data = window(agent, 80, seed)
            part = EpisodeData(
                data.observations[row : row + 2], data.actions[row : row + 2], data.rewards[row : row + 2],
                [False] * 2, [False] * 2, [{}] * 2, 0, final_obs=np.zeros(4, np.float32),
            )  # fmt: skip
            diagnostics = agent.learn(part)
            made += diagnostics["n_updates"]
            online, target = (agent.policy_state()["networks"][name] for name in ("q", "q_target"))
            if diagnostics["n_updates"] and all(np.array_equal(online[key], target[key]) for key in online):
                assert diagnostics["target_updated"] == 1
                copies.append(made)
    return copies


def test_the_target_is_copied_every_so_many_gradient_updates():
    assert target_copies({"target_update_freq": 25}, n_windows=2) == [25, 50, 75]


def test_the_target_may_be_copied_by_env_steps():
    assert target_copies({"target_update_steps": 40}, n_windows=2) == [20, 40, 60]


# -- exploration -----------------------------------------------------------------------------------------------------


def test_epsilon_decays_once_per_finished_env_episode():
    agent = make("dqn", 4, {"epsilon": 1.0, "epsilon_decay": 0.9, "epsilon_min": 0.5})
    data = window(agent, 20)
    data.terminated, data.truncated = [False] * 20, [False] * 20
    assert agent.learn(data)["epsilon"] == 1.0
    data.terminated[3] = data.truncated[9] = data.terminated[19] = True
    assert agent.learn(data)["epsilon"] == pytest.approx(0.9**3)
    for _ in range(3):
        diagnostics = agent.learn(data)
    assert diagnostics["epsilon"] == 0.5
    assert agent.get_hyperparams().params["epsilon"] == 1.0


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"epsilon": LinearSchedule(1.0, 0.2, 80)}, [0.8, 0.6, 0.4, 0.2, 0.2]),
        ({"epsilon": 1.0, "epsilon_min": 0.2, "epsilon_decay_steps": 80}, [0.8, 0.6, 0.4, 0.2, 0.2]),
        ({}, [0.1 * 0.995**n for n in range(1, 6)]),
        ({"epsilon": 0.0, "epsilon_decay_steps": 80}, [0.0] * 5),  # below epsilon_min it does not rise
    ],
)
def test_epsilon_may_fall_with_env_steps_instead(params, expected):
    agent = make("dqn", 4, params)
    seen = []
    for seed in range(5):
        data = window(agent, 20, seed)
        data.terminated, data.truncated = [False] * 19 + [True], [False] * 20
        seen.append(agent.learn(data)["epsilon"])
        assert agent.epsilon == seen[-1]
    assert seen == pytest.approx(expected)


def test_another_epsilon_restarts_the_decay_and_the_same_one_does_not():
    agent = make("dqn", 4, {"epsilon": 1.0, "epsilon_decay": 0.5})
    agent.learn(window(agent))
    decayed = agent.epsilon
    assert decayed < 1.0
    agent.set_hyperparams(agent.get_hyperparams())
    assert agent.epsilon == decayed
    agent.set_hyperparams(HyperparamSet({"epsilon": 0.3}))
    assert agent.epsilon == 0.3


def test_random_actions_come_with_probability_epsilon_and_never_when_deterministic():
    agent = make("dqn", 4, {"epsilon": 0.6})
    observations = np.tile(np.ones(4), (6000, 1))
    rng = np.random.default_rng(0)
    greedy = agent.act_batch(observations, rng=rng, deterministic=True)[0]
    assert len(set(greedy)) == 1
    actions = agent.act_batch(observations, rng=rng)[0]
    assert np.mean(actions == greedy[0]) == pytest.approx(0.4 + 0.6 / 3, abs=0.02)
    probabilities = agent.action_probs(np.ones(4))
    np.testing.assert_allclose(np.bincount(actions, minlength=3) / 6000, probabilities, atol=0.02)


# -- replay ----------------------------------------------------------------------------------------------------------


def test_priorities_are_the_errors_after_the_burst():
    agent = make("dqn", 4, {"per_alpha": 1.0, "updates_per_step": 1.0})
    seen = []
    original = agent._replay.update_priorities
    agent._replay.update_priorities = lambda index, error: (seen.append((index, error)), original(index, error))[0]
    agent.learn(window(agent, 50))
    sizes = [len(index) // 16 for index, _ in seen]
    assert sizes == [32, 2]  # 34 updates past the first batch, in powers of two
    assert all((error >= 0).all() for _, error in seen)


def test_several_steps_at_once_are_learned_from():
    agent = make("dqn", 4, {"n_step": 3, "double": True, "huber": True})
    diagnostics = agent.learn(window(agent))
    assert diagnostics["n_updates"] == 16
    assert np.isfinite(diagnostics["loss"])


def test_an_off_policy_agent_says_so():
    agent = make("dqn")
    assert not agent.is_on_policy
    assert agent.default_min_episodes_before_dormant == 60
    assert agent.default_param_bounds == {"learning_rate": (1e-4, 1e-3), "gamma": (0.95, 0.999)}


# -- borders ---------------------------------------------------------------------------------------------------------


def box(*shape):
    return gym.spaces.Box(-1.0, 1.0, shape)


def test_fitting_spaces_pass():
    make("dqn").check_spaces(box(4), gym.spaces.Discrete(3))


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (box(4), gym.spaces.Discrete(2), "n_actions is 3, but the environment has 2 actions"),
        (box(4), box(2), "discrete actions"),
        (box(7), gym.spaces.Discrete(3), "q_network does not take"),
    ],
)
def test_spaces_that_do_not_fit_are_explained(observations, actions, message):
    with pytest.raises(ConfigError, match=message):
        make("dqn").check_spaces(observations, actions)


def test_the_target_is_a_copy_that_nobody_trains():
    q = mlp(4, 3)
    agent = TorchDQNAgent(q, 3, adam(q), HyperparamSet({}), device="cpu")
    assert agent._q is agent.q_network is q
    assert agent._q_target is not q
    assert not any(p.requires_grad for p in agent._q_target.parameters())
    assert all(torch.equal(a, b) for a, b in zip(q.parameters(), agent._q_target.parameters(), strict=True))


def test_the_published_example_runs():
    q_net = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    agent = TorchDQNAgent(
        q_network=q_net, n_actions=3, optimizer=torch.optim.Adam(q_net.parameters(), lr=3e-4),
        hyperparams=HyperparamSet(params={
            "learning_rate": 3e-4, "gamma": 0.99,
            "epsilon": 1.0, "epsilon_min": 0.05, "epsilon_decay": 0.995,
            "batch_size": 64, "target_update_freq": 100,
            "replay_capacity": 100_000,
            "per_alpha": 0.0, "per_beta": 0.4, "n_step": 1,
        }, episode_id=0),
    )  # fmt: skip
    diagnostics = agent.learn(window(agent))
    assert {"loss", "epsilon", "buffer_size", "target_updated", "td_error_mean", "episode_reward"} <= set(diagnostics)


def test_two_agents_of_one_seed_are_one():
    first, second = dqn(), dqn()
    second.load_policy_state(first.policy_state())
    assert same_weights(first, second)
