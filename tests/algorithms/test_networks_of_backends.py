"""One design gives the same network on every backend."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.algorithms.designs import AgentDesign, Body, NetworkDesign, networks_for
from tensor_optix.algorithms.spaces import DQN_SPACE, PPO_SPACE, SAC_SPACE
from tensor_optix.core.hyperparams import LinearSchedule
from tensor_optix.core.types import EpisodeData
from tensor_optix.quick.backends import LIBRARIES, is_installed, networks_module

SPACES = {"ppo": PPO_SPACE, "gaussian_ppo": PPO_SPACE, "dqn": DQN_SPACE, "sac": SAC_SPACE}
BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"{name} is not installed"))
    for name in LIBRARIES
]


def outputs(backend: str, design: NetworkDesign, x: np.ndarray) -> np.ndarray:
    network = networks_module(backend).network(design)
    if backend == "torch":
        import torch

        return network(torch.from_numpy(x)).detach().numpy()
    return np.asarray(network(x))


def by_hand(design: NetworkDesign, x: np.ndarray) -> np.ndarray:
    """Dense layers in NumPy."""
    for dense, weights in zip(design.denses, design.weights(), strict=True):
        x = x @ weights
        if dense.has_layer_norm:
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        x = {"tanh": np.tanh, "relu": lambda y: np.maximum(y, 0), None: lambda y: y}[dense.activation](x)
    return x


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "name"), [("ppo", "actor"), ("sac", "critic1"), ("dqn", "q_network")])
def test_a_dense_network_computes_what_its_design_says(backend, kind, name):
    activation = "tanh" if kind == "ppo" else "relu"
    design = networks_for(kind, Body((4,), False, (16, 8), activation, {name: 5}), 2)[name]
    x = np.random.default_rng(1).standard_normal((3, *design.input_shape)).astype(np.float32)
    np.testing.assert_allclose(outputs(backend, design, x), by_hand(design, x), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (3, 8, 9)], ids=["HW", "HWC", "CHW"])
def test_images_are_scaled_and_read_in_any_layout(backend, shape):
    design = networks_for("ppo", Body(shape, True, (16,), "relu", {"critic": 3}), 2)["critic"]
    black, white = (np.full((2, *shape), value, dtype=np.float32) for value in (0.0, 255.0))
    assert outputs(backend, design, black) == pytest.approx(np.zeros((2, 1)))
    lit = outputs(backend, design, white)
    assert lit.shape == (2, 1)
    half = outputs(backend, design, white / 2)
    np.testing.assert_allclose(half, lit / 2, rtol=1e-4)  # ReLU without biases is homogeneous
    assert 1e-3 < np.abs(lit).max() < 100


@pytest.mark.parametrize("backend", BACKENDS)
def test_sac_acts_on_images_and_learns_from_them(backend):
    """Its critics see the pixels as the actor does, and the action."""
    shape, box = (8, 9, 3), gym.spaces.Box(-1, 1, (2,))
    params = {**SAC_SPACE.defaults, "batch_size": 4, "learning_starts": 0, "updates_per_step": 0.25}
    designs = networks_for("sac", Body(shape, True, (16,), "relu", {"critic1": 1, "critic2": 2, "actor": 3}), 2)
    agent = networks_module(backend).agent_of(AgentDesign("sac", designs, 2, params))
    agent.check_spaces(gym.spaces.Box(0, 255, shape, np.uint8), box)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, *shape), dtype=np.uint8)
    actions, extras = agent.act_batch(images, rng=rng)
    assert actions.shape == (8, 2)
    window = EpisodeData(images, actions, [1.0] * 8, [False] * 8, [False] * 7 + [True], [{}] * 8, 0, extras=extras,
                         final_observations={7: images[0]})  # fmt: skip
    found = agent.learn(window)
    assert found["n_updates"] == 1
    assert found["actor_optimizer_grad_norm"] > 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", SPACES)
def test_an_agent_has_the_hyperparameters_of_its_design(backend, kind):
    hyperparams = {**SPACES[kind].defaults, "learning_rate": 7e-4}
    design = AgentDesign(kind, networks_for(kind, Body((4,), False, (8,), "relu"), 2), 2, hyperparams)
    agent = networks_module(backend).agent_of(design)
    assert agent.get_hyperparams().params["learning_rate"] == pytest.approx(7e-4)
    falling = replace(design, hyperparams={**hyperparams, "learning_rate": LinearSchedule(7e-4, 0.0, 100)})
    scheduled = networks_module(backend).agent_of(falling)
    assert scheduled.get_hyperparams().params["learning_rate"] == pytest.approx(7e-4)
    actions, _ = agent.act_batch(np.zeros((3, 4), np.float32), rng=np.random.default_rng(0))
    assert len(actions) == 3
