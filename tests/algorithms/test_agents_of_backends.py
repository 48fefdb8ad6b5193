"""What every agent does on every backend: learn, go on where it was saved, and leave alone what is not its own."""

from __future__ import annotations

import copy
import json
import os
import random

import numpy as np
import pytest

from tensor_optix import BatchPipeline, RLOptimizer
from tensor_optix.algorithms.spaces import PPO_SPACE
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.resume import resume_level
from tensor_optix.core.state import join_state, split_state
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import ConfigError
from tests.agents_of_backends import (
    ALGORITHMS,
    BACKENDS,
    CONTINUOUS,
    TARGETS,
    backend_of,
    play,
    small_agent,
    weights_of,
    window_for,
)

os.environ.setdefault("JAX_PLATFORMS", "cpu")

BACKEND = pytest.mark.parametrize("backend", BACKENDS)
ALGORITHM = pytest.mark.parametrize("algorithm", ALGORITHMS)

TASK = {  # how to learn ``play`` in seconds
    "ppo": {"gamma": 0.5, "entropy_coef": 0.0, "n_epochs": 4, "minibatch_size": 64},
    "gaussian_ppo": {"gamma": 0.5, "entropy_coef": 0.0, "n_epochs": 4, "minibatch_size": 64},
    "dqn": {"gamma": 0.5, "epsilon_decay": 0.995, "target_update_freq": 20, "batch_size": 64,
            "updates_per_step": 0.25},
    "sac": {"gamma": 0.5, "batch_size": 64, "updates_per_step": 0.5, "tau": 0.05, "learning_starts": 64},
    "a2c": {},
}  # fmt: skip
N_WINDOWS = {"a2c": 40}


def arrays_of(agent):
    _, arrays = split_state(agent.state_dict())
    return {name: (array.shape, array.tobytes()) for name, array in arrays.items()}


def n_programs(agent):
    """How many update programs were compiled (PyTorch compiles none)."""
    learner = agent._learner
    if type(learner).__name__ == "TFLearner":
        return learner.n_traces
    if type(learner).__name__ == "FlaxLearner":
        return sum(program.call._cache_size() for key, program in learner._compiled.items() if key[0] == "epoch")
    return 0


@pytest.fixture(scope="module")
def trained():
    """Each agent once: (agent, programs after two windows, programs at the end); its numbers change on the way."""
    found = {}

    def train(backend, algorithm):
        if (backend, algorithm) not in found:
            agent = small_agent(backend, algorithm, TASK[algorithm], n_inputs=3, dim=1, rate=1e-2)
            stream, counts = np.random.default_rng(0), []
            for number in range(N_WINDOWS.get(algorithm, 15)):
                agent.learn(play(agent, stream))
                counts.append(n_programs(agent))
                agent.set_hyperparams(HyperparamSet(other_numbers(agent, number)))
            found[backend, algorithm] = agent, counts[1], counts[-1]
        return found[backend, algorithm]

    return train


def other_numbers(agent, number):
    """A little different in every window, everything that a tuner may touch."""
    base = agent.get_hyperparams().params
    names = {"learning_rate", "clip_ratio", "vf_coef", "max_grad_norm", "tau", "n_epochs"} & base.keys()
    names -= {"n_epochs"} if "n_epochs" in base and number % 3 else set()
    factor = 1.05 if number % 2 else 1 / 1.05
    return {name: base[name] + (1 if number % 2 else -1) if name == "n_epochs" else base[name] * factor
            for name in names}  # fmt: skip


@BACKEND
@ALGORITHM
def test_it_solves_a_task_with_a_known_best_policy(backend, algorithm, trained):
    agent, *_ = trained(backend, algorithm)
    best = [agent.act(row, deterministic=True) for row in np.eye(3)]
    if algorithm in CONTINUOUS:
        np.testing.assert_allclose(np.concatenate(best), TARGETS, atol=0.25)
    else:
        assert best == [0, 1, 2]


@BACKEND
@ALGORITHM
def test_other_hyperparameters_compile_nothing_anew(backend, algorithm, trained):
    _, after_two_windows, at_the_end = trained(backend, algorithm)
    assert after_two_windows == at_the_end
    assert (at_the_end > 0) == (backend != "torch")


class Restless(BaseOptimizer):
    """Changes everything that a tuner may touch, at every tick."""

    def suggest(self, current_hyperparams, metrics_history):
        space, draws = PPO_SPACE.tuner_bounds, np.random.default_rng(len(metrics_history))
        drawn = {name: float(draws.uniform(low, high)) for name, (low, high) in space.items()}
        return HyperparamSet({**current_hyperparams.params, **drawn})


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_a_run_of_100_tuned_windows_compiles_one_update(backend, tmp_path):
    agent = small_agent(backend, "ppo", {"n_epochs": 1, "minibatch_size": 32}, n_actions=2)
    opt = RLOptimizer(
        agent, BatchPipeline(env_id="CartPole-v1", window_size=64), optimizer=Restless(), checkpoint_dir=tmp_path,
        seed=0, max_episodes=100, evaluation_episodes=0, dormant_threshold=10**6,
    )  # fmt: skip
    opt.run()
    rows = (opt.run_dir / "metrics.jsonl").read_text().splitlines()
    rates = {json.loads(row)["hyperparams"]["learning_rate"] for row in rows}
    assert (opt.result.windows, len(rates) > 50) == (100, True)
    assert n_programs(agent) == 1


@BACKEND
@ALGORITHM
def test_acting_leaves_no_trace(backend, algorithm, trained):
    """Neither in the agent nor in anybody's random numbers."""
    agent, *_ = trained(backend, algorithm)
    observations = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    before, streams = arrays_of(agent), global_randomness(backend)
    for deterministic in (True, False):
        agent.act_batch(observations, rng=np.random.default_rng(1), deterministic=deterministic)
        agent.policy_outputs(observations)
    agent.act(observations[0])
    assert arrays_of(agent) == before
    assert global_randomness(backend) == streams


def global_randomness(backend):
    found = []
    if backend == "torch":
        import torch

        found.append(torch.get_rng_state().numpy().tobytes())
    if backend == "tf":
        from tensor_optix.backends.tf_import import keras, tf

        found.append(tf.random.get_global_generator().state.numpy().tobytes())
        found.append(keras.src.random.seed_generator.global_seed_generator().state.numpy().tobytes())
    # last: Keras makes its global generator when it is first asked for, with a seed from ``random``
    return [*found, random.getstate(), str(np.random.get_state())]  # noqa: NPY002 - it is not drawn from


@BACKEND
@ALGORITHM
def test_learning_draws_from_no_global_stream(backend, algorithm, trained):
    agent, *_ = trained(backend, algorithm)
    window = play(agent, np.random.default_rng(3))
    streams = global_randomness(backend)
    agent.learn(window)
    assert global_randomness(backend) == streams


@BACKEND
@ALGORITHM
def test_saved_and_loaded_it_goes_on_bit_for_bit(backend, algorithm, trained):
    """And so does its copy, where networks can be copied."""
    agent, *_ = trained(backend, algorithm)
    other = small_agent(backend, algorithm, TASK[algorithm], n_inputs=3, dim=1, rate=1e-2, seed=5)
    other.load_state_dict(join_state(*split_state(agent.state_dict())))
    others = [other]
    if backend == "tf":
        with pytest.raises(ConfigError, match=r"load_state_dict\(agent.state_dict\(\)\)"):
            copy.deepcopy(agent)
    else:
        others.append(copy.deepcopy(agent))
    results = [
        (one.learn(play(one, np.random.default_rng(9))), arrays_of(one)) for one in (agent, *others)
    ]
    assert results[0][0]["n_updates"] > 0
    assert all(result == results[0] for result in results[1:])


@pytest.mark.parametrize(("algorithm", "name"), [("ppo", "actor"), ("gaussian_ppo", "actor"), ("a2c", "model")])
def test_a_window_of_one_row_is_learned_from(algorithm, name):
    """Its only advantage is neither normalised away nor blown up. (NumPy does that, whatever the backend.)"""
    pytest.importorskip("torch")
    params = {} if algorithm == "a2c" else {"entropy_coef": 0.0}
    agent = small_agent("torch", algorithm, params, optimizer="sgd", rate=1e-2)
    before = weights_of(agent)[name]
    agent.learn(window_for(agent, n_rows=1))
    assert 1e-5 < max(np.abs(a - b).max() for a, b in zip(before, weights_of(agent)[name], strict=True)) < 1.0


def test_values_that_are_all_off_by_the_same_scale_no_gradient_up():
    """Advantages of A2C that do not vary have no deviation to be divided by."""
    pytest.importorskip("torch")
    agent = small_agent("torch", "a2c", {"gamma": 0.5}, optimizer="sgd", rate=1e-2, n_inputs=3)
    before, window = weights_of(agent)["model"], play(agent, np.random.default_rng(0))
    window.values = np.asarray(window.rewards) - 1.0
    agent.learn(window)
    assert 1e-5 < max(np.abs(a - b).max() for a, b in zip(before, weights_of(agent)["model"], strict=True)) < 1.0


@BACKEND
def test_a_schedule_of_the_users_decides_the_learning_rate(backend, caplog):
    """No tuner and no cool-down may touch it; whoever sets a rate all the same is told once."""
    from tensor_optix.core.cooling import can_be_cooled, cooled

    agent, current_rate = scheduled_agent(backend)
    assert not agent.param_space["learning_rate"].tunable
    assert not can_be_cooled(agent)
    agent.learn(window_for(agent))
    expected = current_rate()
    with cooled(agent, 0.1):
        assert current_rate() == expected
    for rate in (0.5, 0.25):
        agent.set_hyperparams(HyperparamSet({"learning_rate": rate}))
    assert current_rate() == expected or backend == "jax"  # there it is a factor on the schedule
    told = [record for record in caplog.records if "schedule of its own" in record.getMessage()]
    assert len(told) == (0 if backend == "jax" else 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schedule_that_warms_up_from_0_keeps_no_agent_from_being_saved_and_set(backend):
    agent, _ = scheduled_agent(backend, first=0.0)
    agent.learn(window_for(agent))
    agent.set_hyperparams(agent.get_hyperparams())
    agent.load_state_dict(agent.state_dict())
    assert agent.get_hyperparams().params["learning_rate"] > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_schedule_that_lives_outside_of_the_optimizer_is_not_promised_to_resume(backend):
    """PyTorch's schedulers are objects of the user's; those of optax and Keras count in the optimizer's state."""
    agent, _ = scheduled_agent(backend)
    level = resume_level(agent, EnvPipelineOfState())
    assert (level.level, "schedule" in level.why) == (("E1", True) if backend == "torch" else ("E3", False))
    assert resume_level(small_agent(backend, "ppo"), EnvPipelineOfState()).level == "E3"


class EnvPipelineOfState:
    """As much of a pipeline as is asked."""

    continues_exactly = True

    def state_dict(self):
        return {}


def scheduled_agent(backend, first=1e-3):
    """An agent whose optimizer follows a schedule that begins at ``first``, and what tells the rate of now."""
    at = backend_of(backend)
    made = at.agents["ppo"]
    plain = small_agent(backend, "ppo")
    networks = plain._learner.networks["actor"], plain._learner.networks["critic"]
    if backend == "torch":
        import torch

        optimizer = torch.optim.Adam([p for network in networks for p in network.parameters()], lr=1e-3)
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: first / 1e-3 * 0.5**n)
        agent = made(*networks, optimizer, {"n_epochs": 2}, device="cpu")
        return agent, lambda: optimizer.param_groups[0]["lr"]
    if backend == "jax":
        import optax

        agent = made(*networks, optax.adam(optax.linear_schedule(first, 1e-4, 20)), {"n_epochs": 2})
        return agent, lambda: agent._learner._ratio
    from tensor_optix.backends.tf_import import keras

    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(first, 20, 1e-4))
    return made(*networks, optimizer, {"n_epochs": 2}, jit_compile=False), lambda: float(optimizer.learning_rate)


def test_a_plateau_scheduler_is_noticed_once_it_has_changed_the_rate():
    """It leaves no mark on the optimizer of PyTorch that it will change."""
    torch = pytest.importorskip("torch")
    agent = small_agent("torch", "ppo")
    optimizer = agent._learner.optimizers["optimizer"]
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    assert agent.param_space["learning_rate"].tunable
    for _ in range(3):
        scheduler.step(1.0)
    lowered = optimizer.param_groups[0]["lr"]
    assert lowered < 3e-3
    assert not agent.param_space["learning_rate"].tunable
    agent.set_hyperparams(HyperparamSet({"learning_rate": 0.5}))
    assert optimizer.param_groups[0]["lr"] == lowered
