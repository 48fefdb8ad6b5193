"""Whatever file a policy is exported to, it acts as the agent does: on every backend, discrete and continuous."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, ConfigError, NumpyPolicy, TorchGaussianPPOAgent, export_policy
from tensor_optix.algorithms import torch_networks
from tensor_optix.core.types import HyperparamSet
from tensor_optix.pipeline.actions import action_converter
from tests.export.export_agents import (
    BOX,
    CONTINUOUS,
    DISCRETE,
    N_ACTIONS,
    N_INPUTS,
    Spaces,
    an_agent,
    env_for,
    observations,
    onnx_outputs,
)

torch = pytest.importorskip("torch")
nn = torch.nn

FORMATS = ("numpy", "safetensors", "onnx")
BACKENDS = {"torch": "torch_networks", "tf": "tf_networks", "jax": "flax_networks"}


@pytest.fixture(scope="module", params=BACKENDS)
def agent_of(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(f"tensor_optix.algorithms.{BACKENDS[request.param]}").agent_of


def in_env_units(agent: Any, space: Any, x: np.ndarray, rng: Any = None) -> np.ndarray:
    """The agent's actions as a pipeline hands them to the environment."""
    rng, deterministic = (np.random.default_rng(0), True) if rng is None else (rng, False)
    actions, _ = agent.act_batch(x, rng=rng, deterministic=deterministic)
    convert = action_converter(space, in_unit_box=agent.acts_in_unit_box)
    return np.stack([np.asarray(convert(action)) for action in actions])


def agree(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal actions; numbers to float32's precision."""
    if np.issubdtype(theirs.dtype, np.integer):
        return bool((ours == theirs).all())
    return ours.dtype == theirs.dtype and np.allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize("kind", DISCRETE + CONTINUOUS)
@pytest.mark.parametrize("format", FORMATS)
def test_the_exported_policy_acts_as_the_agent_on_raw_observations(agent_of, kind, format, tmp_path):
    agent, env, x = an_agent(kind, agent_of), env_for(kind), observations()
    x[::10, 1:] *= 1e3  # far outside of what the statistics have seen
    path = export_policy(agent, tmp_path / "policy", format=format, env=env)
    expected = in_env_units(agent, env.action_space, x)
    assert len(np.unique(expected.round(3), axis=0)) > 1
    acted = onnx_outputs(path, x)["action"] if format == "onnx" else NumpyPolicy.load(path).act_batch(x)
    assert agree(acted, expected)


@pytest.mark.parametrize("kind", DISCRETE + CONTINUOUS)
def test_with_the_same_generator_it_draws_what_the_agent_draws(agent_of, kind, tmp_path):
    agent, env, x = an_agent(kind, agent_of), env_for(kind), observations()
    policy = NumpyPolicy.load(export_policy(agent, tmp_path / "policy", env=env))
    drawn = policy.act_batch(x, deterministic=False, rng=np.random.default_rng(5))
    assert agree(drawn, in_env_units(agent, env.action_space, x, np.random.default_rng(5)))
    assert not agree(drawn, policy.act_batch(x))


HW, HWC, CHW = (12, 10), (12, 10, 2), (2, 12, 10)


@pytest.mark.parametrize(
    ("kind", "shape"), [("ppo", HW), ("ppo", HWC), ("ppo", CHW), ("dqn", HWC), ("gaussian_ppo", CHW), ("sac", HWC)]
)
def test_policies_that_see_images_act_as_the_agent_in_every_format(agent_of, kind, shape, tmp_path):
    agent, env = an_agent(kind, agent_of, shape=shape, normalised=False), env_for(kind, shape)
    x = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    expected = in_env_units(agent, env.action_space, x)
    paths = {form: export_policy(agent, tmp_path / form, format=form, env=env) for form in FORMATS}
    policy = NumpyPolicy.load(paths["numpy"])
    assert np.allclose(policy.outputs(x), agent.policy_outputs(x), atol=2e-5)
    assert agree(policy.act_batch(x), expected)
    assert agree(NumpyPolicy.load(paths["safetensors"]).act_batch(x), expected)
    assert agree(onnx_outputs(paths["onnx"], x.astype(np.float32))["action"], expected)


def test_onnx_gives_what_one_needs_to_draw_actions(tmp_path):
    x = observations()
    agent = an_agent("sac", torch_networks.agent_of)
    outputs = onnx_outputs(export_policy(agent, tmp_path / "sac.onnx", format="onnx", env=env_for("sac")), x)
    head = agent.policy_outputs(x)
    assert np.allclose(outputs["mean"], head[:, :N_ACTIONS], atol=1e-5)
    assert np.allclose(outputs["log_std"], np.clip(head[:, N_ACTIONS:], -5.0, 2.0), atol=1e-5)
    agent = an_agent("dqn", torch_networks.agent_of)
    outputs = onnx_outputs(export_policy(agent, tmp_path / "dqn.onnx", format="onnx"), x)
    assert np.allclose(outputs["action_values"], agent.policy_outputs(x), atol=1e-5)


def test_one_observation_gives_one_action_as_act_gives_it(tmp_path):
    x = observations(n=1)[0]
    agent = an_agent("ppo", torch_networks.agent_of)
    policy = NumpyPolicy.load(export_policy(agent, tmp_path / "ppo"))
    assert policy.act(x) == agent.act(x, deterministic=True)
    assert type(policy.act(x)) is int
    agent = an_agent("gaussian_ppo", torch_networks.agent_of)
    policy = NumpyPolicy.load(export_policy(agent, tmp_path / "gaussian"))
    assert np.allclose(policy.act(x), agent.act(x, deterministic=True), atol=1e-6)


def test_without_an_environment_actions_stay_in_the_agents_units(tmp_path):
    x = observations()
    discrete = NumpyPolicy.load(export_policy(an_agent("ppo", torch_networks.agent_of), tmp_path / "a"))
    continuous = NumpyPolicy.load(export_policy(an_agent("sac", torch_networks.agent_of), tmp_path / "b"))
    assert set(discrete.act_batch(x)) <= {0, 1, 2}
    assert np.abs(continuous.act_batch(x)).max() < 1.0


def test_an_unbounded_space_gets_the_actions_as_they_are(tmp_path):
    agent, env = an_agent("sac", torch_networks.agent_of), Spaces(gym.spaces.Box(-np.inf, np.inf, (N_ACTIONS,)))
    policy = NumpyPolicy.load(export_policy(agent, tmp_path / "policy", env=env))
    x = observations()
    assert agree(policy.act_batch(x), in_env_units(agent, env.action_space, x))


def test_a_policy_of_a_pipeline_plays_the_real_environment(tmp_path):
    pipeline = BatchPipeline(env_id="Pendulum-v1", window_size=8)
    agent = an_agent_for_pendulum()
    policy = NumpyPolicy.load(export_policy(agent, tmp_path / "policy", env=pipeline))
    env = gym.make("Pendulum-v1")
    observation, _ = env.reset(seed=0)
    for _ in range(20):
        action = policy.act(observation)
        assert env.action_space.contains(action)
        observation, *_ = env.step(action)
    env.close()
    pipeline.teardown()


def an_agent_for_pendulum() -> Any:
    actor, critic = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), nn.Sequential(nn.Linear(3, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)
    return TorchGaussianPPOAgent(actor, critic, optimizer, 1, {}, device="cpu")


def test_an_environment_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Box"):
        export_policy(an_agent("ppo", torch_networks.agent_of), tmp_path / "policy", env=Spaces(BOX))


def test_an_unknown_format_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'onnx'"):
        export_policy(an_agent("ppo", torch_networks.agent_of), tmp_path / "policy", format="onx")


def test_exporting_leaves_the_agent_and_its_random_numbers_as_they_were(tmp_path):
    agents = [an_agent("ppo", torch_networks.agent_of) for _ in range(2)]
    for agent in agents:
        agent.seed(np.random.default_rng(3))
    export_policy(agents[0], tmp_path / "policy", format="onnx", env=env_for("ppo"))
    x = observations(n=20)
    assert [agents[0].act(row) for row in x] == [agents[1].act(row) for row in x]


def test_a_loaded_run_brings_its_own_action_space(tmp_path):
    class Run:
        agent = an_agent("ppo", torch_networks.agent_of)
        pipeline = env_for("ppo")
        frame_stack = 1

    policy = NumpyPolicy.load(export_policy(Run(), tmp_path / "policy"))
    assert set(policy.act_batch(observations())) <= {4, 5, 6}


def test_a_saved_policy_is_used_without_any_framework_or_gymnasium(tmp_path):
    path = export_policy(an_agent("sac", torch_networks.agent_of), tmp_path / "policy", env=env_for("sac"))
    code = (
        "import sys, numpy as np\n"
        "from tensor_optix import NumpyPolicy\n"
        f"print(NumpyPolicy.load({str(path)!r}).act(np.zeros({N_INPUTS})).shape)\n"
        "print(sorted({'torch', 'tensorflow', 'jax', 'gymnasium', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env={**os.environ}
    )
    assert done.stdout.split("\n")[:2] == [f"({N_ACTIONS},)", "[]"]


def test_hyperparameters_of_dqn_travel_as_the_epsilon_of_now(tmp_path):
    agent = an_agent("dqn", torch_networks.agent_of)
    agent.set_hyperparams(HyperparamSet({"epsilon": 0.0}))
    policy = NumpyPolicy.load(export_policy(agent, tmp_path / "policy"))
    x = observations()
    assert (policy.act_batch(x, deterministic=False, rng=np.random.default_rng(0)) == policy.act_batch(x)).all()
