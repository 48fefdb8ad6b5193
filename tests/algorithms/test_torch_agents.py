"""What every built-in agent does, whatever its algorithm."""

import copy
from dataclasses import replace
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_agents import CONTINUOUS, MAKERS, adam, make, mlp, ppo, same_weights, weights_of, window  # noqa: E402

from tensor_optix.algorithms.spaces import PPO_SPACE  # noqa: E402
from tensor_optix.algorithms.torch_dqn import TorchDQNAgent  # noqa: E402
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent  # noqa: E402
from tensor_optix.core.hyperparams import LinearSchedule, Param  # noqa: E402
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer  # noqa: E402
from tensor_optix.core.state import join_state, split_state  # noqa: E402
from tensor_optix.core.types import EpisodeData, HyperparamSet  # noqa: E402
from tensor_optix.errors import ArchitectureMismatch, ConfigError, NonFiniteError  # noqa: E402
from tensor_optix.storage.archive import read_archive, save_archive  # noqa: E402
from tensor_optix.storage.file_system import FileSystem  # noqa: E402
from tensor_optix.testing.check_agent import check_agent  # noqa: E402

torch.set_num_threads(1)
ALL = pytest.mark.parametrize("name", MAKERS)


def through_a_file(tree, path):
    state, arrays = split_state(tree)
    save_archive(FileSystem(), path, state=state, arrays=arrays, meta={})
    archive = read_archive(FileSystem(), path)
    return join_state(archive.state, archive.arrays)


@ALL
def test_it_keeps_the_contract_of_agents(name):
    if name in CONTINUOUS:
        agent, env = make(name, 3, dim=1), gym.make("Pendulum-v1")
    else:
        agent, env = make(name, 6), gym.make("Acrobot-v1")
    assert len(check_agent(agent, env)) == 10
    agent.check_spaces(env.observation_space, env.action_space)


# -- state -----------------------------------------------------------------------------------------------------------


@ALL
def test_saved_and_loaded_it_goes_on_bit_for_bit(name, tmp_path):
    original, restored = make(name), make(name, seed=5)
    for seed in range(2):
        original.learn(window(original, 71, seed))  # half an update is owed after it
    original.set_hyperparams(HyperparamSet({"learning_rate": 1e-3}))
    original.act(np.ones(4))
    restored.load_state_dict(through_a_file(original.state_dict(), tmp_path / "state"))
    assert restored.get_hyperparams().params == original.get_hyperparams().params
    for seed in (2, 3):
        assert original.learn(window(original, 71, seed)) == restored.learn(window(restored, 71, seed))
        np.testing.assert_array_equal(original.act(np.ones(4)), restored.act(np.ones(4)))
    assert same_weights(original, restored)


@ALL
def test_one_seed_gives_bit_identical_learning(name):
    first, second, other = make(name), make(name), make(name)
    other.seed(np.random.default_rng(99))
    data = window(first)
    for agent in (first, second, other):
        agent.learn(data)
    assert same_weights(first, second)
    assert same_weights(first, other) == (name == "generic")  # its one step over all rows draws nothing


@ALL
def test_taking_the_state_changes_nothing(name):
    plain, watched = make(name), make(name)
    for seed in range(3):
        plain.learn(window(plain, seed=seed))
        watched.state_dict()
        watched.learn(window(watched, seed=seed))
    assert same_weights(plain, watched)


@ALL
def test_weights_come_back_from_disk_and_acting_sees_them(name, tmp_path):
    original, other = make(name), make(name, seed=1)
    original.learn(window(original))
    original.save_weights(str(tmp_path / "weights"))
    other.load_weights(str(tmp_path / "weights"))
    assert same_weights(original, other)
    observation = np.ones(4)
    np.testing.assert_array_equal(original.act(observation, True), other.act(observation, True))


@ALL
def test_other_architectures_are_refused_with_the_layers_named(name, tmp_path):
    make(name, 5).save_weights(str(tmp_path / "weights"))
    agent = make(name)
    before = weights_of(agent)
    with pytest.raises(ArchitectureMismatch, match=r"0\.weight is \(16, [5-7]\) there and \(16, [46]\) here"):
        agent.load_weights(str(tmp_path / "weights"))
    assert all(np.array_equal(before[key], array) for key, array in weights_of(agent).items())


@ALL
def test_averaging_loads_the_mean_and_perturbing_moves_every_trained_weight(name, tmp_path):
    parts = [make(name, seed=seed) for seed in (1, 2)]
    for index, part in enumerate(parts):
        part.save_weights(str(tmp_path / str(index)))
    mean = make(name)
    mean.average_weights([])
    assert same_weights(mean, make(name))
    mean.average_weights([str(tmp_path / "0"), str(tmp_path / "1")])
    averaged, (first, second) = weights_of(mean), map(weights_of, parts)
    for key, array in averaged.items():
        np.testing.assert_allclose(array, (first[key] + second[key]) / 2, rtol=1e-6, atol=1e-7)
    mean.perturb_weights(0.1)
    moved = {key for key, array in weights_of(mean).items() if not np.array_equal(array, averaged[key])}
    # a target follows by itself, and 0 (log α) times anything is 0
    assert moved == {key for key in averaged if not key.startswith(("q_target", "target", "log_alpha"))}


def test_averaging_refuses_whatever_does_not_fit_and_names_it(tmp_path):
    for file, agent in {
        "same": make("ppo"), "wider": make("ppo", 5), "dqn": make("dqn"),
        "normalised": make("ppo", obs_normalizer=ObsNormalizer(4)),
    }.items():  # fmt: skip
        agent.save_weights(str(tmp_path / file))
    agent = make("ppo", seed=5)
    before = weights_of(agent)
    for file, reason in {"wider": r"\(16, 5\) there", "dqn": "is missing there", "normalised": "normalizers"}.items():
        with pytest.raises(ArchitectureMismatch, match=rf"{file}: .*{reason}"):
            agent.average_weights([str(tmp_path / "same"), str(tmp_path / file)])
    assert all(np.array_equal(before[key], array) for key, array in weights_of(agent).items())


def test_bounds_that_a_subclass_gives_are_those_that_tuners_explore():
    class Careful(TorchPPOAgent):
        default_param_bounds: ClassVar = {"gamma": (0.9, 0.95), "n_epochs": (2, 5), "learning_rate": (1e-5, 1e-4)}

    space = ppo(kind=Careful).param_space
    assert space.tuner_bounds == Careful.default_param_bounds
    assert space.log_params == ["learning_rate"]
    assert space["n_epochs"].kind == "int"
    assert ppo().param_space.tuner_bounds == PPO_SPACE.tuner_bounds
    with pytest.raises(ConfigError, match=r"'gama' for default_param_bounds\. Did you mean 'gamma'"):
        type("Typo", (TorchPPOAgent,), {"default_param_bounds": {"gama": (0.9, 0.95)}})


def test_a_space_that_a_subclass_extends_shows_in_its_bounds():
    class Curious(TorchPPOAgent):
        space = PPO_SPACE.extended(bonus=Param("float", 0.0, 1.0, default=0.1, tunable=True))

    assert Curious.default_param_bounds["bonus"] == (0.0, 1.0)
    assert ppo(kind=Curious).get_hyperparams().params["bonus"] == 0.1


def test_perturbing_leaves_frozen_layers_alone_and_refuses_a_scale_that_is_none():
    agent = make("ppo")
    agent.actor[0].requires_grad_(False)
    before = weights_of(agent)
    for scale in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="noise_scale must be a finite number"):
            agent.perturb_weights(scale)
    agent.perturb_weights(0.1)
    still = {key for key, array in weights_of(agent).items() if np.array_equal(array, before[key])}
    assert still == {"actor.0.weight", "actor.0.bias"}


@ALL
def test_after_teardown_it_still_acts_and_learns(name):
    agent = make(name)
    agent.teardown()
    agent.act(np.ones(4))
    assert agent.learn(window(agent))["n_updates"] > 0


# -- acting ----------------------------------------------------------------------------------------------------------


@ALL
def test_whoever_evaluates_does_not_disturb_a_rollout(name):
    quiet, disturbed = make(name), make(name)
    rng, observation = np.random.default_rng(9), np.ones(4)
    expected = [quiet.act(observation) for _ in range(20)]
    for action in expected:
        np.testing.assert_array_equal(disturbed.act(observation), action)
        state = copy.deepcopy(disturbed.state_dict())
        disturbed.act_batch(np.ones((3, 4)), rng=rng)
        disturbed.act_batch(np.ones((3, 4)), rng=rng, deterministic=True)
        disturbed.reset_cache()
        left, right = (split_state(tree) for tree in (state, disturbed.state_dict()))
        assert left[0] == right[0]


@ALL
@pytest.mark.parametrize("n_in", [1, 4])
def test_actions_have_the_shape_of_the_space_for_any_observation_size(name, n_in):
    agent = make(name, n_in)
    action = agent.act(np.ones(n_in))
    actions, extras = agent.act_batch(np.ones((5, n_in)), rng=np.random.default_rng(0))
    if name in CONTINUOUS:
        assert action.shape == (2,)
        assert actions.shape == (5, 2)
        assert np.abs(actions).max() <= 1.0
        assert agent.acts_in_unit_box
    else:
        assert type(action) is int
        assert actions.shape == (5,)
    assert all(len(column) == 5 for column in extras.values())
    assert agent.learn(window(agent, n_in=n_in))["n_updates"] > 0


@ALL
def test_deterministic_actions_ask_no_random_stream(name):
    agent = make(name)
    observations = np.random.default_rng(0).standard_normal((6, 4))
    rng = np.random.default_rng(1)
    first = agent.act_batch(observations, rng=rng, deterministic=True)[0]
    assert rng.bit_generator.state == np.random.default_rng(1).bit_generator.state
    np.testing.assert_array_equal(first, agent.act_batch(observations, rng=rng, deterministic=True)[0])


class Pixels(nn.Module):
    """Takes raw pixel values: scaling is the network's business."""

    def __init__(self, n_out):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 6 * 6, n_out))
        self.seen = []

    def forward(self, x):
        self.seen.append((x.dtype, float(x.max())))
        return self.layers(x / 255.0)


def image_window(n_rows=40):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n_rows, 1, 8, 8), dtype=np.uint8)
    images[0, 0, 0, 0] = 255
    return EpisodeData(images, rng.integers(0, 3, n_rows), [1.0] * n_rows, [False] * n_rows, [False] * n_rows,
                       [{}] * n_rows, 0, final_observations={n_rows - 1: images[0]})  # fmt: skip


def test_images_are_kept_as_bytes_and_reach_the_network_as_they_are():
    q = Pixels(3)
    agent = TorchDQNAgent(q, 3, adam(q), {"batch_size": 8, "replay_capacity": 100}, device="cpu")
    data = image_window()
    assert type(agent.act(data.observations[0])) is int
    assert agent.learn(data)["n_updates"] == 32
    assert set(q.seen) <= {(torch.float32, value) for value in map(float, range(256))}
    assert max(value for _, value in q.seen) == 255.0
    assert agent._replay.sample(1, 4, rng=np.random.default_rng(0))["observation"].dtype == np.uint8


def test_ppo_learns_from_images():
    actor, critic = Pixels(3), Pixels(1)
    agent = TorchPPOAgent(actor, critic, adam(actor, critic), {"n_epochs": 1, "minibatch_size": 20}, device="cpu")
    assert agent.learn(image_window())["n_updates"] == 2


# -- learning --------------------------------------------------------------------------------------------------------


@ALL
def test_an_empty_window_is_nothing_to_learn_from(name):
    assert make(name).learn(EpisodeData([], [], [], [], [], [], 0)) == {"n_updates": 0}


@ALL
def test_windows_without_extras_are_learned_from(name):
    agent = make(name)
    data = window(agent)
    data.extras = {}
    diagnostics = agent.learn(data)
    assert diagnostics["n_updates"] > 0
    assert all(np.isfinite(value) for value in diagnostics.values() if not isinstance(value, str))


@ALL
def test_intrinsic_rewards_are_learned_from(name):
    agent, other = make(name), make(name)
    data = window(agent)
    bonus = np.random.default_rng(1).random(80).tolist()
    together = [reward + extra for reward, extra in zip(data.rewards, bonus, strict=True)]
    agent.learn(replace(data, intrinsic_rewards=bonus))
    other.learn(replace(data, rewards=together))
    assert same_weights(agent, other)


def test_a_subclass_that_overrides_learn_works():
    class Trading(TorchPPOAgent):
        def learn(self, episode_data):
            diagnostics = super().learn(episode_data)
            with torch.no_grad():
                seen = torch.as_tensor(episode_data.observations[:256], dtype=torch.float32)
                diagnostics["p_flat"] = float(torch.softmax(self._actor(seen), -1).mean(0)[0])
            return diagnostics

    agent = ppo(kind=Trading)
    diagnostics = agent.learn(window(agent))
    assert 0.0 < diagnostics["p_flat"] < 1.0
    assert diagnostics["n_updates"] > 0


def test_a_recurrent_network_is_refused():
    q = nn.Sequential(nn.GRU(4, 3))
    with pytest.raises(ConfigError, match=r"q contains a recurrent layer \(GRU\)"):
        TorchDQNAgent(q, 3, adam(q), {}, device="cpu")


# -- hyperparameters -------------------------------------------------------------------------------------------------


@ALL
def test_a_scheduled_learning_rate_falls_with_the_env_steps(name):
    schedule = LinearSchedule(1e-3, 0.0, 160)
    agent = make(name, 4, {"learning_rate": schedule})
    assert agent.get_hyperparams().params["learning_rate"] == 1e-3
    assert "learning_rate" not in agent.param_space.tuner_bounds
    seen = []
    for seed in range(3):
        agent.learn(window(agent, 80, seed))
        seen.append(agent._learner.learning_rate)
    assert seen == pytest.approx([1e-3, 5e-4, 0.0])
    assert agent.get_hyperparams().params["learning_rate"] == 1e-3
    agent.set_hyperparams(agent.get_hyperparams())  # whoever gives back what he got has not spoken
    agent.learn(window(agent, 80))
    assert agent._learner.learning_rate == 0.0
    agent.set_hyperparams(HyperparamSet({"learning_rate": 2e-3}))
    agent.learn(window(agent, 80))
    assert agent._learner.learning_rate == 2e-3
    assert "learning_rate" in agent.param_space.tuner_bounds


@ALL
def test_a_schedule_goes_on_after_a_resume(name, tmp_path):
    agent, restored = (make(name, 4, {"learning_rate": LinearSchedule(1e-3, 1e-4, 320)}) for _ in range(2))
    agent.learn(window(agent))
    restored.load_state_dict(through_a_file(agent.state_dict(), tmp_path / "state"))
    for seed in (1, 2):
        assert agent.learn(window(agent, seed=seed)) == restored.learn(window(restored, seed=seed))
    assert agent._learner.learning_rate == restored._learner.learning_rate < 1e-3


@ALL
def test_a_loaded_state_without_a_schedule_ends_the_one_here(name):
    scheduled, plain = make(name, 4, {"learning_rate": LinearSchedule(1e-3, 0.0, 160)}), make(name, 4)
    plain.set_hyperparams(HyperparamSet({"learning_rate": 1e-3}))
    for seed in range(2):
        scheduled.learn(window(scheduled, 80, seed))
    scheduled.load_state_dict(plain.state_dict())
    scheduled.learn(window(scheduled, 80))
    assert scheduled._learner.learning_rate == 1e-3


LIES = {
    "schedules": {"learning_rate": [1e-3, 0.0, -5]},
    "hyperparams": {"gamma": 7.0},
    "env_steps": "many",
    "streams": {"seed": 0, "streams": {"act": "nowhere"}},
    "replay": {"ring": {"capacity": 1}},
    "credit": None,
    "n_updates": None,
    "decayed_epsilon": "low",
}


@ALL
def test_a_state_that_lies_in_one_entry_changes_nothing(name):
    agent, other = make(name), make(name, seed=5)
    other.learn(window(other))
    for entry in LIES.keys() & other.state_dict().keys():
        before = copy.deepcopy(split_state(agent.state_dict()))
        with pytest.raises((ConfigError, LookupError, TypeError, ValueError)):
            agent.load_state_dict({**other.state_dict(), entry: LIES[entry]})
        after = split_state(agent.state_dict())
        assert after[0] == before[0], entry
        for key, array in before[1].items():
            np.testing.assert_array_equal(after[1][key], array)


@ALL
def test_statistics_that_lie_change_no_weights(name):
    def made(seed):
        return make(name, seed=seed, obs_normalizer=ObsNormalizer(4), reward_normalizer=RewardNormalizer())

    agent, state = made(0), made(5).state_dict()
    state["policy"]["normalizers"]["rewards"]["envs"] = [0, 1, 2]
    before = copy.deepcopy(split_state(agent.state_dict()))
    with pytest.raises(ValueError, match="zip"):
        agent.load_state_dict(state)
    after = split_state(agent.state_dict())
    assert after[0] == before[0]
    for key, array in before[1].items():
        np.testing.assert_array_equal(after[1][key], array)


@ALL
def test_a_window_that_is_not_whole_changes_nothing(name):
    agent = make(name)
    good = window(agent)
    before = copy.deepcopy(split_state(agent.state_dict()))
    with pytest.raises(NonFiniteError):
        agent.learn(replace(good, rewards=[float("nan"), *good.rewards[1:]]))
    with pytest.raises(ConfigError):
        agent.learn(replace(good, actions=good.actions[1:]))
    if name not in CONTINUOUS:
        with pytest.raises(ConfigError, match=r"actions\[0\]"):
            agent.learn(replace(good, actions=good.actions + 7))
    after = split_state(agent.state_dict())
    assert after[0] == before[0]
    for key, array in before[1].items():
        np.testing.assert_array_equal(after[1][key], array)


@ALL
def test_unknown_hyperparameters_are_refused(name):
    with pytest.raises(ConfigError, match="Did you mean 'gamma'"):
        make(name, 4, {"gama": 0.9})


def test_what_is_fixed_cannot_change_later():
    agent = make("dqn")
    agent.set_hyperparams(agent.get_hyperparams())
    with pytest.raises(ConfigError, match="replay_capacity cannot change once the agent is made, it is 2000, got 5"):
        agent.set_hyperparams(HyperparamSet({"replay_capacity": 5}))


# -- normalisers -----------------------------------------------------------------------------------------------------


def normalised(name, **keywords):
    return make(name, obs_normalizer=ObsNormalizer((4,)), reward_normalizer=RewardNormalizer(), **keywords)


@ALL
def test_statistics_stand_still_while_learning_and_are_brought_up_to_date_after(name):
    agent, plain = normalised(name), make(name)
    data = window(plain)
    agent.learn(data)
    plain.learn(data)
    for key, array in weights_of(plain).items():
        np.testing.assert_allclose(weights_of(agent)[key], array, atol=1e-4)  # nothing was known yet
    statistics = agent.policy_state()["normalizers"]
    np.testing.assert_allclose(statistics["observations"]["mean"], np.mean(data.observations, axis=0), rtol=1e-6)
    observation = np.array([10.0, -3.0, 2.0, 0.5], dtype=np.float32)
    expected = agent._normalizers.observations(observation[None])
    np.testing.assert_array_equal(agent._seen(observation[None]), expected)
    assert not np.allclose(expected, observation)


@ALL
def test_acting_updates_no_statistics(name):
    agent = normalised(name)
    agent.learn(window(agent))
    before = split_state(agent.policy_state()["normalizers"])
    agent.act(np.full(4, 100.0))
    agent.act_batch(np.full((3, 4), 100.0), rng=np.random.default_rng(0))
    after = split_state(agent.policy_state()["normalizers"])
    assert before[0] == after[0]
    assert all(np.array_equal(before[1][key], after[1][key]) for key in before[1])


@ALL
def test_a_policy_is_weights_and_statistics(name, tmp_path):
    agent, other = normalised(name), normalised(name, seed=3)
    agent.learn(window(agent))
    agent.save_weights(str(tmp_path / "weights"))
    other.load_weights(str(tmp_path / "weights"))
    observation = np.full(4, 2.0)
    np.testing.assert_array_equal(agent._seen(observation[None]), other._seen(observation[None]))
    before = weights_of(plain := make(name))
    with pytest.raises(ArchitectureMismatch, match=r"normalizers of observations and rewards, but .* nothing"):
        plain.load_weights(str(tmp_path / "weights"))
    assert all(np.array_equal(before[key], array) for key, array in weights_of(plain).items())


@ALL
def test_a_refused_policy_leaves_weights_and_statistics(name):
    agent = normalised(name)
    agent.learn(window(agent))
    stranger = make(name, 4, obs_normalizer=ObsNormalizer((4,)), reward_normalizer=RewardNormalizer())
    state = stranger.policy_state()
    del state["networks"][next(iter(state["networks"]))]
    before = split_state(agent.policy_state())
    with pytest.raises(ArchitectureMismatch):
        agent.load_policy_state(state)
    after = split_state(agent.policy_state())
    assert before[0] == after[0]
    assert all(np.array_equal(before[1][key], after[1][key]) for key in before[1])


# -- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_auto_is_cuda_where_there_is_one():
    actor, critic = mlp(4, 3), mlp(4, 1)
    agent = TorchPPOAgent(actor, critic, adam(actor, critic), {})
    assert next(actor.parameters()).is_cuda
    assert agent.learn(window(agent))["n_updates"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actor": None}, "actor must be a torch.nn.Module, got None"),
        ({"optimizer": None}, "optimizer must be a torch.optim.Optimizer over the networks' parameters, got None"),
        ({"optimizer": torch.optim.Adam}, "optimizer must be a torch.optim.Optimizer .* got <class"),
        ({"optimizer": torch.optim.LBFGS([nn.Parameter(torch.zeros(1))])}, "optimizer is LBFGS"),
        ({"hyperparams": None}, "a HyperparamSet or a dict"),
        ({"device": "gpu"}, "device must be 'auto' or one that PyTorch knows"),
    ],
)
def test_parts_that_are_none_are_refused_by_name(change, message):
    actor, critic = mlp(4, 3), mlp(4, 1)
    parts = {"actor": actor, "critic": critic, "optimizer": adam(actor, critic), "hyperparams": {}, "device": "cpu"}
    with pytest.raises(ConfigError, match=message):
        TorchPPOAgent(**{**parts, **change})


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_accelerator_is_told():
    with pytest.raises(ConfigError, match="PyTorch finds no CUDA device here: give device='auto' or 'cpu'"):
        ppo_on("cuda")


def ppo_on(device):
    actor, critic = mlp(4, 3), mlp(4, 1)
    return TorchPPOAgent(actor, critic, adam(actor, critic), {}, device=device)
