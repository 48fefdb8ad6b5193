"""The PPO agent, seen through its PyTorch leaf."""

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tensor_optix.algorithms.losses import ppo_loss  # noqa: E402
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent  # noqa: E402
from tensor_optix.core.state import join_state, split_state  # noqa: E402
from tensor_optix.core.types import EpisodeData, HyperparamSet  # noqa: E402
from tensor_optix.errors import ArchitectureMismatch, CheckpointError, ConfigError  # noqa: E402
from tensor_optix.storage.archive import read_archive, save_archive  # noqa: E402
from tensor_optix.storage.file_system import FileSystem  # noqa: E402

torch.set_num_threads(1)  # threads cost more than they give at these sizes


def networks(n_actions=3, n_inputs=4, seed=0, hidden=16):
    torch.manual_seed(seed)
    actor = nn.Sequential(nn.Linear(n_inputs, hidden), nn.Tanh(), nn.Linear(hidden, n_actions))
    critic = nn.Sequential(nn.Linear(n_inputs, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    return actor, critic


def agent(params=None, *, kind=TorchPPOAgent, rate=3e-4, seed=0, **shape):
    actor, critic = networks(seed=seed, **shape)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=rate)
    made = kind(actor, critic, optimizer, HyperparamSet(params or {}), device="cpu")
    made.seed(np.random.default_rng(seed))
    return made


def window(n_rows=200, seed=0, n_actions=3):
    rng = np.random.default_rng(seed)
    terminated = (rng.random(n_rows) < 0.05).tolist()
    truncated = [bool(i % 40 == 39) and not terminated[i] for i in range(n_rows)]
    return EpisodeData(
        rng.standard_normal((n_rows, 4)).astype(np.float32), rng.integers(0, n_actions, n_rows),
        rng.standard_normal(n_rows).tolist(), terminated, truncated, [{}] * n_rows, 0,
        final_observations={i: rng.standard_normal(4) for i in range(n_rows) if truncated[i] or i == n_rows - 1},
    )  # fmt: skip


def weights(of):
    return [p.detach().clone() for module in (of.actor, of.critic) for p in module.parameters()]


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


# -- learning --------------------------------------------------------------------------------------------------------


def test_it_learns_to_repeat_what_it_sees():
    """The identity task: reward 1 when the action is the index of the observed one-hot state."""
    learner = agent({"learning_rate": 3e-3, "gamma": 0.5, "entropy_coef": 0.0}, n_inputs=3)
    rng = np.random.default_rng(0)
    for _ in range(12):
        states = rng.integers(0, 3, 256)
        observations = np.eye(3, dtype=np.float32)[states]
        actions, _ = learner.act_batch(observations, rng=rng)
        rewards = (actions == states).astype(float).tolist()
        learner.learn(EpisodeData(observations, actions, rewards, [True] * 256, [False] * 256, [{}] * 256, 0))
    assert [learner.act(row, deterministic=True) for row in np.eye(3)] == [0, 1, 2]
    assert learner.action_probs(np.eye(3)[1])[1] > 0.8


def test_the_first_ratio_is_one():
    learner = agent({"n_epochs": 1, "minibatch_size": 200})
    diagnostics = learner.learn(window())
    assert diagnostics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert diagnostics["clip_fraction"] == 0.0
    assert diagnostics["policy_loss"] == pytest.approx(0.0, abs=1e-5)  # advantages are normalised over the window


def test_diagnostics_have_the_published_names():
    diagnostics = agent().learn(window())
    assert set(diagnostics) == {
        "policy_loss", "value_loss", "entropy", "approx_kl", "explained_var", "n_updates",
        "clip_fraction", "grad_norm", "skipped_updates", "learning_rate", "clip_ratio",
        "entropy_coef",
    }  # fmt: skip
    assert diagnostics["n_updates"] == 10 * (200 // 64)
    assert all(np.isfinite(value) for value in diagnostics.values())


def captured_batch(learner, data):
    seen = {}
    original = learner._learner.run

    def run(update, batch, rows, scalars, **keywords):
        seen.update(batch, loss=update.steps[0].loss)
        return original(update, batch, rows, scalars, **keywords)

    learner._learner.run = run
    learner.learn(data)
    return seen


def test_truncated_rows_bootstrap_from_their_final_observation():
    learner = agent({"gamma": 0.9, "gae_lambda": 0.0})
    final = np.full(4, 2.0, np.float32)
    value = learner._learner.forward("critic", final[None])[0, 0]
    data = EpisodeData(
        np.zeros((3, 4), np.float32), np.array([0, 1, 2]), [1.0, 1.0, 1.0], [False, True, False], [True, False, False],
        [{}] * 3, 0, final_observations={0: final, 2: final},
    )  # fmt: skip
    batch = captured_batch(learner, data)
    np.testing.assert_allclose(batch["return"], [1 + 0.9 * value, 1.0, 1 + 0.9 * value], rtol=1e-5)
    assert batch["loss"] is ppo_loss


def test_a_segment_ends_with_its_own_successor():
    learner = agent({"gamma": 0.9, "gae_lambda": 1.0})
    data = window(6)
    data.terminated, data.truncated, data.segments = [False] * 6, [False] * 6, [(0, 3), (3, 6)]
    data.final_observations = {2: np.ones(4, np.float32), 5: -np.ones(4, np.float32)}
    expected = []
    for rows, final in ((range(3), np.ones(4)), (range(3, 6), -np.ones(4))):
        value = float(learner._learner.forward("critic", final[None].astype(np.float32))[0, 0])
        for row in reversed(rows):
            value = data.rewards[row] + 0.9 * value
            expected.append((row, value))
    np.testing.assert_allclose(captured_batch(learner, data)["return"], [v for _, v in sorted(expected)], rtol=1e-4)


@pytest.mark.parametrize("n_rows", [0, 1, 5])
def test_windows_smaller_than_a_minibatch_are_learned_from(n_rows):
    data = window(5)
    for name in ("observations", "actions", "rewards", "terminated", "truncated"):
        setattr(data, name, getattr(data, name)[:n_rows])
    diagnostics = agent().learn(data)
    assert diagnostics["n_updates"] == (10 if n_rows else 0)
    assert all(np.isfinite(value) for value in diagnostics.values())


# -- acting ----------------------------------------------------------------------------------------------------------


def test_acting_gives_plain_integers_and_the_argmax_when_deterministic():
    learner = agent()
    observation = np.array([0.1, -0.2, 0.3, 0.4])
    action = learner.act(observation)
    assert type(action) is int
    probabilities = learner.action_probs(observation)
    assert probabilities.sum() == pytest.approx(1.0)
    assert learner.act(observation, deterministic=True) == probabilities.argmax()
    actions, extras = learner.act_batch(np.tile(observation, (4, 1)), rng=np.random.default_rng(0), deterministic=True)
    assert actions.tolist() == [probabilities.argmax()] * 4
    assert extras == {}


def test_whoever_evaluates_does_not_disturb_a_rollout():
    quiet, disturbed = agent(), agent()
    observation = np.zeros(4)
    actions = [quiet.act(observation) for _ in range(50)]
    rng = np.random.default_rng(9)
    others = []
    for _ in range(50):
        others.append(disturbed.act(observation))
        disturbed.act_batch(observation[None], rng=rng)
        disturbed.reset_cache()
    assert others == actions


class Contrarian(TorchPPOAgent):
    def act(self, observation, deterministic=False):
        return 2 - super().act(observation, deterministic)


def test_a_subclass_that_overrides_act_is_asked_row_by_row():
    plain, contrary = agent(), agent(kind=Contrarian)
    observations = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    expected = [2 - plain.act(row) for row in observations]
    assert contrary.act_batch(observations, rng=np.random.default_rng(5))[0].tolist() == expected


# -- reproducibility and state ---------------------------------------------------------------------------------------


def test_one_seed_gives_bit_identical_learning():
    first, second, other = agent(), agent(), agent()
    other.seed(np.random.default_rng(99))
    assert first.learn(window()) == second.learn(window())
    other.learn(window())
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(other))


def test_saved_and_loaded_it_goes_on_identically(tmp_path):
    original = agent({"clip_ratio": 0.15})
    original.learn(window(seed=1))
    original.set_hyperparams(HyperparamSet({"learning_rate": 1e-3}))
    [original.act(np.zeros(4)) for _ in range(7)]
    state, arrays = split_state(original.state_dict())
    save_archive(FileSystem(), tmp_path / "state", state=state, arrays=arrays, meta={})
    archive = read_archive(FileSystem(), tmp_path / "state")
    restored = agent(seed=5)
    restored.load_state_dict(join_state(archive.state, archive.arrays))
    assert restored.get_hyperparams().params == original.get_hyperparams().params
    for step in range(2):
        assert original.learn(window(seed=step)) == restored.learn(window(seed=step))
        assert [original.act(row) for row in np.eye(4)] == [restored.act(row) for row in np.eye(4)]
    original.perturb_weights(0.1)
    restored.perturb_weights(0.1)
    assert same(weights(original), weights(restored))


def test_weights_come_back_from_disk_and_acting_sees_them(tmp_path):
    original, other = agent(), agent(seed=1)
    original.learn(window())
    original.save_weights(str(tmp_path / "weights"))
    other.load_weights(str(tmp_path / "weights"))
    assert same(weights(original), weights(other))
    np.testing.assert_array_equal(original.action_probs(np.ones(4)), other.action_probs(np.ones(4)))


def test_weights_load_from_a_snapshot_without_its_moments(tmp_path):
    original, other = agent(), agent(seed=1)
    original.learn(window())
    state, arrays = split_state(original.policy_state())
    save_archive(FileSystem(), tmp_path / "snapshot", state=state, arrays=arrays, meta={})
    other.load_weights(str(tmp_path / "snapshot"))
    assert same(weights(original), weights(other))
    assert other.policy_state()["optimizers"]["optimizer"]["moments"] == {}


def test_a_loaded_policy_brings_its_moments():
    original, other = agent(), agent(seed=1)
    original.learn(window())
    other.load_policy_state(original.policy_state())
    other._streams.load_state_dict(original._streams.state_dict())
    assert original.learn(window(seed=2)) == other.learn(window(seed=2))


def test_weights_of_another_architecture_are_refused_with_the_layers_named(tmp_path):
    agent(hidden=8).save_weights(str(tmp_path / "weights"))
    other = agent()
    before = weights(other)
    with pytest.raises(ArchitectureMismatch, match=r"weights: .*actor.0.weight is \(8, 4\) there and \(16, 4\) here"):
        other.load_weights(str(tmp_path / "weights"))
    assert same(weights(other), before)
    with pytest.raises(CheckpointError):
        other.load_weights(str(tmp_path / "nowhere"))


def test_averaging_loads_the_mean(tmp_path):
    agents = [agent(seed=seed) for seed in (1, 2)]
    for index, member in enumerate(agents):
        member.save_weights(str(tmp_path / str(index)))
    mean = agent()
    mean.average_weights([str(tmp_path / "0"), str(tmp_path / "1")])
    for averaged, *parts in zip(weights(mean), *map(weights, agents), strict=True):
        torch.testing.assert_close(averaged, sum(parts) / 2)


# -- hyperparameters -------------------------------------------------------------------------------------------------


def test_the_users_learning_rate_wins_over_the_optimizers():
    assert agent(rate=1e-2)._hyperparams.params["learning_rate"] == 1e-2
    assert agent(rate=1e-2).get_hyperparams().params["learning_rate"] == 1e-2
    given = agent({"learning_rate": 5e-4}, rate=1e-2)
    assert given.get_hyperparams().params["learning_rate"] == 5e-4
    assert given._learner.optimizers["optimizer"].param_groups[0]["lr"] == 5e-4


def test_hyperparameters_are_taken_over_whole_or_not_at_all():
    learner = agent()
    with pytest.raises(ConfigError, match="Did you mean 'clip_ratio'"):
        learner.set_hyperparams(HyperparamSet({"gamma": 0.9, "clip_rato": 0.1}))
    with pytest.raises(ConfigError, match="gamma"):
        learner.set_hyperparams(HyperparamSet({"clip_ratio": 0.1, "gamma": 1.5}))
    assert learner.get_hyperparams().params["gamma"] == 0.99
    learner.set_hyperparams(HyperparamSet({"gamma": 0.9}, 7))
    assert learner.get_hyperparams().params["gamma"] == 0.9
    assert learner.get_hyperparams().params["clip_ratio"] == 0.2
    learner.get_hyperparams().params["gamma"] = 0.1
    assert learner.get_hyperparams().params["gamma"] == 0.9


# -- spaces ----------------------------------------------------------------------------------------------------------


def box(*shape):
    return gym.spaces.Box(-1.0, 1.0, shape)


def test_fitting_spaces_pass():
    agent().check_spaces(box(4), gym.spaces.Discrete(3))


@pytest.mark.parametrize(
    ("observations", "actions", "message"),
    [
        (box(4), gym.spaces.Discrete(4), "actor gives 3 outputs but the environment has 4 actions: .* must be 4"),
        (box(8), gym.spaces.Discrete(3), r"actor does not take .* shape \(8,\).*1x8 and 4x16"),
        (box(4), box(2), "discrete actions"),
        (gym.spaces.Dict({"a": box(4)}), gym.spaces.Discrete(3), "flatten"),
    ],
)
def test_spaces_that_do_not_fit_are_explained(observations, actions, message):
    with pytest.raises(ConfigError, match=message):
        agent().check_spaces(observations, actions)


def test_a_critic_with_several_outputs_is_refused():
    actor, _ = networks()
    critic = nn.Linear(4, 2)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    with pytest.raises(ConfigError, match="critic gives 2 outputs"):
        TorchPPOAgent(actor, critic, optimizer, HyperparamSet({})).check_spaces(box(4), gym.spaces.Discrete(3))


def test_the_docstrings_example_runs():
    example = TorchPPOAgent.__doc__.split("Example::")[1]
    lines = [line[8:] for line in example.splitlines()]
    scope = {}
    exec("\n".join(lines), scope)
    assert scope["action"] in (0, 1)
    assert scope["agent"].actor is scope["agent"]._actor is scope["actor"]


def test_a_schedule_of_the_users_own_changes_no_base_learning_rate_and_survives_a_restore():
    made = agent({"learning_rate": 1e-3})
    group = made._learner.optimizers["optimizer"].param_groups[0]
    group["lr"] = 0.0  # what a schedule ends with
    assert made.get_hyperparams().params["learning_rate"] == 1e-3
    made.set_hyperparams(made.get_hyperparams())
    assert group["lr"] == 0.0


def test_hyperparameters_may_be_a_plain_dict():
    actor, critic = networks()
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    assert TorchPPOAgent(actor, critic, optimizer, {"clip_ratio": 0.3}).get_hyperparams().params["clip_ratio"] == 0.3


def test_under_target_kl_the_rate_follows_the_kl_and_nobody_else_tunes_it():
    learner = agent({"learning_rate": 1e-2, "target_kl": 1e-4})  # far too fast for so small a target
    assert not learner.param_space["learning_rate"].tunable
    rates = [learner.learn(window(seed=seed))["learning_rate"] for seed in range(4)]
    assert rates[0] == 1e-2
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-2 / 1.5**3)
    assert learner.get_hyperparams().params["learning_rate"] == 1e-2  # the base is the user's


def test_a_target_kl_of_0_switches_every_controller_off():
    learner = agent({"learning_rate": 1e-2, "target_kl": 0.0, "clip_ratio": 0.02})
    assert learner.param_space["learning_rate"].tunable
    assert [learner.learn(window(seed=seed))["learning_rate"] for seed in range(3)] == 3 * [1e-2]
    assert "controllers" not in learner.state_dict()


def test_switched_off_in_mid_run_the_controllers_leave_nothing_behind():
    learner = agent({"learning_rate": 1e-2, "target_kl": 1e-4})
    for seed in range(3):
        learner.learn(window(seed=seed))
    assert learner._learner.learning_rate < 1e-2
    learner.set_hyperparams(HyperparamSet({"target_kl": 0.0}))
    assert learner.learn(window())["learning_rate"] == learner._learner.learning_rate == 1e-2


def test_the_controllers_go_on_where_their_state_was_taken():
    learner = agent({"learning_rate": 1e-2, "target_kl": 1e-4})
    for seed in range(3):
        learner.learn(window(seed=seed))
    other = agent({"learning_rate": 1e-2, "target_kl": 1e-4})
    other.load_state_dict(learner.state_dict())
    assert other.learn(window(seed=9)) == learner.learn(window(seed=9))
