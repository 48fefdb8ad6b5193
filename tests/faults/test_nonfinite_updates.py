"""Losses and gradients that are not finite, extreme rewards, and networks in unusual states."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tensor_optix import ConfigError, EpisodeData, HyperparamSet, NonFiniteError, TorchPPOAgent  # noqa: E402
from tensor_optix.algorithms.losses import ppo_loss  # noqa: E402
from tensor_optix.backends.base import Step, Update  # noqa: E402
from tensor_optix.backends.torch_backend import TorchLearner  # noqa: E402
from tensor_optix.core.state import split_state  # noqa: E402
from tensor_optix.core.trajectory_buffer import compute_gae, minibatch_rows  # noqa: E402

torch.set_num_threads(1)
SCALARS = {"clip_ratio": 0.2, "vf_coef": 0.5, "entropy_coef": 0.01}


def mlp(n_outputs, *extra):
    return nn.Sequential(nn.Linear(4, 8), *extra, nn.Tanh(), nn.Linear(8, n_outputs))


def plain():
    torch.manual_seed(0)
    return {"actor": mlp(2), "critic": mlp(1)}


def with_norms():
    torch.manual_seed(0)
    return {"actor": mlp(2, nn.BatchNorm1d(8), nn.Dropout(0.3)), "critic": mlp(1, nn.BatchNorm1d(8))}


def parameters(networks):
    return [p for module in networks.values() for p in module.parameters()]


OPTIMIZERS = {
    "adam": lambda networks: torch.optim.Adam(parameters(networks), lr=1e-3),
    "amsgrad": lambda networks: torch.optim.Adam(parameters(networks), lr=1e-3, amsgrad=True),
    "sgd": lambda networks: torch.optim.SGD(parameters(networks), lr=1e-2, momentum=0.9),
}


def window(n_rows=96):
    rng = np.random.default_rng(3)
    return {
        "observation": rng.standard_normal((n_rows, 4)).astype(np.float32),
        "action": rng.integers(0, 2, n_rows),
        "log_prob": np.log(rng.uniform(0.3, 0.7, n_rows)).astype(np.float32),
        "advantage": rng.standard_normal(n_rows).astype(np.float32),
        "return": rng.standard_normal(n_rows).astype(np.float32),
    }


def learner_of(networks, optimizer):
    return TorchLearner(networks, {"optimizer": optimizer})


def update_of(loss):
    return Update((Step(loss, "optimizer", ("actor", "critic")),))


class Poison:
    """The loss, made not finite in the updates whose numbers (from 0) are given."""

    def __init__(self, updates, *, kind="loss"):
        self.updates, self.kind, self.number = set(updates), kind, -1

    def __call__(self, ops, networks, batch, scalars):
        self.number += 1
        value, metrics = ppo_loss(ops, networks, batch, scalars)
        if self.number not in self.updates:
            return value, metrics
        if self.kind == "loss":
            return value * float("nan"), metrics
        return value + torch.sqrt(value * 0.0), metrics  # the loss is finite, its gradient is not


def run(learner, loss=ppo_loss, n_epochs=3, seed=0):
    rows = minibatch_rows(96, 32, n_epochs, np.random.default_rng(seed))
    return learner.run(update_of(loss), window(), rows, SCALARS, max_grad_norm=0.5, rng=np.random.default_rng(seed))


def bits(learner):
    state = learner.state_dict()
    json, arrays = split_state([state["networks"], state["optimizers"]["optimizer"]["moments"]])
    return json, {name: array.tobytes() for name, array in arrays.items()}


# -- skipped updates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("build", [plain, with_norms])
@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_skipped_update_leaves_weights_buffers_and_moments_bit_for_bit(optimizer, build, kind):
    networks = build()
    learner = learner_of(networks, OPTIMIZERS[optimizer](networks))
    run(learner)
    before = bits(learner)
    diagnostics = run(learner, Poison(range(3), kind=kind), n_epochs=1)
    assert diagnostics == {"n_updates": 0, "skipped_updates": 3}
    assert bits(learner) == before


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bad", [{0}, {1}, {4}, {0, 1}, {8}, {6, 7, 8}])
def test_the_other_updates_are_what_they_would_have_been_without_it(optimizer, bad):
    networks, reference = plain(), plain()
    learner = learner_of(networks, OPTIMIZERS[optimizer](networks))
    poisoned = run(learner, Poison(bad))
    other = learner_of(reference, OPTIMIZERS[optimizer](reference))
    rows = minibatch_rows(96, 32, 3, np.random.default_rng(0)).reshape(9, 1, 32)
    for number in set(range(9)) - bad:
        other.run(update_of(ppo_loss), window(), rows[number : number + 1], SCALARS, max_grad_norm=0.5,
                  rng=np.random.default_rng(0))  # fmt: skip
    for p, q in zip(parameters(networks), parameters(reference), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=2e-6)
    assert (poisoned["n_updates"], poisoned["skipped_updates"]) == (9 - len(bad), len(bad))
    assert all(np.isfinite(value) for value in poisoned.values())


def test_random_numbers_that_a_skipped_update_drew_are_drawn():
    results = []
    for kind in ("loss", "gradient"):
        networks = with_norms()
        run(learner_of(networks, OPTIMIZERS["adam"](networks)), Poison({2}, kind=kind))
        results.append(networks)
    for p, q in zip(*map(parameters, results), strict=True):
        assert torch.equal(p, q)


def test_the_fifth_skipped_update_in_a_row_is_an_error_that_loses_nothing():
    networks = plain()
    learner = learner_of(networks, OPTIMIZERS["adam"](networks))
    run(learner)
    before = bits(learner)
    with pytest.raises(NonFiniteError, match=r"5 updates in a row .* the loss is nan .* lower learning_rate"):
        run(learner, Poison(range(9)))
    assert bits(learner) == before
    run(learner, Poison({0, 1, 2, 3, 5, 6, 7, 8}))  # the count has begun anew, and there are never five in a row
    for _ in range(2):
        with pytest.raises(NonFiniteError):
            run(learner, Poison(range(9)))


def test_skipped_updates_in_a_row_are_counted_across_windows_and_saved():
    networks = plain()
    learner = learner_of(networks, OPTIMIZERS["adam"](networks))
    run(learner, Poison({5, 6, 7, 8}))
    others = plain()
    resumed = learner_of(others, OPTIMIZERS["adam"](others))
    resumed.load_state_dict(learner.state_dict())
    with pytest.raises(NonFiniteError):
        run(resumed, Poison({0}))
    assert run(learner, Poison({1, 2, 3, 4}))["skipped_updates"] == 4


# -- extreme numbers -------------------------------------------------------------------------------------------------


def ppo(networks=None, params=None):
    networks = networks or plain()
    agent = TorchPPOAgent(networks["actor"], networks["critic"], OPTIMIZERS["adam"](networks),
                          HyperparamSet(params or {}), device="cpu")  # fmt: skip
    agent.seed(np.random.default_rng(0))
    return agent


def episode(rewards, *, observations=None, terminated=None):
    n = len(rewards)
    rng = np.random.default_rng(0)
    seen = rng.standard_normal((n, 4)).astype(np.float32) if observations is None else observations
    return EpisodeData(
        seen, rng.integers(0, 2, n), list(map(float, rewards)), terminated or [i % 20 == 19 for i in range(n)],
        [False] * n, [{}] * n, 0, final_observations={n - 1: seen[-1]} if n else {},
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1e-300, 1e-45, 1e-30, 1e19, 1e30, 3e38, 1e100])
def test_rewards_of_any_finite_size_are_learned_from(scale):
    agent = ppo()
    rewards = np.random.default_rng(1).standard_normal(128) * scale
    for _ in range(3):
        diagnostics = agent.learn(episode(rewards))
        assert all(np.isfinite(value) for value in diagnostics.values())
        assert diagnostics["skipped_updates"] == 0
    assert all(torch.isfinite(p).all() for p in [*agent.actor.parameters(), *agent.critic.parameters()])
    assert isinstance(agent.act(np.zeros(4)), int)


def test_a_change_of_the_reward_scale_in_mid_run_is_survived():
    agent = ppo()
    for scale in (1.0, 1e30, 1e-30, 1.0):
        diagnostics = agent.learn(episode(np.linspace(-1, 1, 128) * scale))
        assert all(np.isfinite(value) for value in diagnostics.values())


@pytest.mark.parametrize("rewards", [[0.0] * 64, [1.0] * 64])
def test_constant_rewards_and_observations_divide_by_no_zero(rewards):
    diagnostics = ppo().learn(episode(rewards, observations=np.ones((64, 4), np.float32)))
    assert all(np.isfinite(value) for value in diagnostics.values())


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_the_shortest_windows_are_learned_from(n_rows):
    diagnostics = ppo().learn(episode([1.0] * n_rows, terminated=[True] * n_rows))
    assert all(np.isfinite(value) for value in diagnostics.values())
    assert diagnostics["n_updates"] == (10 if n_rows else 0)


def test_advantages_of_windows_without_rows_or_with_one_are_defined():
    assert [len(column) for column in compute_gae([], [], [])] == [0, 0]
    advantage, returns = compute_gae([2.0], [0.5], [True], 0.9, 0.9)
    assert (advantage.tolist(), returns.tolist()) == ([1.5], [2.0])


def test_what_float32_cannot_hold_becomes_its_largest_number():
    advantage, _ = compute_gae([1e300, -1e300, 1.0], [0.0] * 3, [True] * 3)
    assert advantage.tolist() == [np.finfo(np.float32).max, -np.finfo(np.float32).max, 1.0]


# -- modes of modules ------------------------------------------------------------------------------------------------


def buffers_of(agent):
    return [b.clone() for module in (agent.actor, agent.critic) for b in module.buffers()]


def flags_of(agent):
    return [m.training for module in (agent.actor, agent.critic) for m in module.modules()]


@pytest.mark.parametrize("is_frozen", [False, True])
def test_acting_changes_no_statistics_and_restores_every_flag(is_frozen):
    agent = ppo(with_norms())
    if is_frozen:
        agent.actor[1].eval()
    agent.learn(episode(np.ones(64)))
    statistics, flags = buffers_of(agent), flags_of(agent)
    agent.act(np.ones(4))
    agent.act_batch(np.ones((3, 4)), rng=np.random.default_rng(0), deterministic=True)
    agent.action_probs(np.ones(4))
    assert all(torch.equal(a, b) for a, b in zip(statistics, buffers_of(agent), strict=True))
    assert flags_of(agent) == flags
    assert flags[2] is not is_frozen
    agent.learn(episode(np.ones(64)))
    assert flags_of(agent) == flags
    changed = [not torch.equal(a, b) for a, b in zip(statistics, buffers_of(agent), strict=True)]
    assert changed == [not is_frozen] * 3 + [True] * 3  # a layer that the user froze stays frozen while learning


def test_saving_and_loading_brings_statistics_and_leaves_flags(tmp_path):
    agent, other = ppo(with_norms()), ppo(with_norms())
    other.actor[1].eval()
    flags = flags_of(other)
    agent.learn(episode(np.ones(64)))
    agent.save_weights(str(tmp_path / "weights"))
    other.load_weights(str(tmp_path / "weights"))
    assert all(torch.equal(a, b) for a, b in zip(buffers_of(agent), buffers_of(other), strict=True))
    assert flags_of(other) == flags
    np.testing.assert_array_equal(agent.action_probs(np.ones(4)), other.action_probs(np.ones(4)))


# -- devices and types -----------------------------------------------------------------------------------------------


def test_parameters_without_data_are_listed_by_device():
    networks = plain()
    networks["critic"] = mlp(1).to("meta")
    with pytest.raises(ConfigError, match=r"cpu: actor.0.weight.*; meta: critic.0.weight.*to_empty"):
        ppo(networks)


def test_networks_on_several_devices_are_listed_by_device():
    networks = plain()
    networks["actor"][2].to("meta")
    with pytest.raises(ConfigError, match=r"must be on cpu \(cpu: actor.0.weight.*; meta: actor.2.weight"):
        learner_of(networks, OPTIMIZERS["adam"](networks))


def test_networks_in_float64_learn_and_act():
    networks = {name: module.double() for name, module in plain().items()}
    before = copy.deepcopy(networks["actor"][0].weight)
    agent = ppo(networks)
    diagnostics = agent.learn(episode(np.random.default_rng(0).standard_normal(64)))
    assert all(np.isfinite(value) for value in diagnostics.values())
    assert agent.actor[0].weight.dtype == torch.float64
    assert not torch.equal(before, agent.actor[0].weight)
    assert isinstance(agent.act(np.zeros(4)), int)


@pytest.mark.parametrize("odd", [torch.float16, torch.bfloat16, torch.float64])
def test_other_and_mixed_types_are_refused_with_the_parameters_named(odd):
    networks = plain()
    networks["critic"] = networks["critic"].to(odd)
    with pytest.raises(ConfigError, match=rf"torch.float32: actor.0.weight.*; {odd}: critic.0.weight.*module.float"):
        ppo(networks)
