"""A small agent of every algorithm on every backend, all with the same weights, and windows that they can learn from.

Frameworks are imported when they are first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

from tensor_optix.algorithms.designs import Body, NetworkDesign
from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.core.types import EpisodeData
from tensor_optix.quick.backends import is_installed, networks_module

ALGORITHMS = ("ppo", "gaussian_ppo", "dqn", "sac", "a2c")
CONTINUOUS = ("gaussian_ppo", "sac")
BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"{name} is not installed"))
    for name in ("torch", "jax", "tf")
]
N_INPUTS, N_ACTIONS, DIM = 4, 3, 2

Optimizer = Any
Network = Any


@dataclass(frozen=True)
class Backend:
    """What tests need of one framework. optimizer: (kind, rate, the networks that it will train) -> one of its own."""

    name: str
    network: Callable[[NetworkDesign], Network]
    optimizer: Callable[[str, float, Sequence[Network]], Optimizer]
    agents: Mapping[str, type[NetworkAgent]]
    keywords: Mapping[str, Any] = field(default_factory=dict)


@cache
def backend_of(name: str) -> Backend:
    """Ready for use, with one thread, and programs that are ready fast rather than fast."""
    backend = {"torch": _torch, "jax": _jax, "tf": _tf}[name]()
    networks_module(name).use_one_thread()
    return backend


def small_agent(
    backend: str, algorithm: str, params: Mapping[str, Any] | None = None, *, seed: int = 0, n_inputs: int = N_INPUTS,
    n_actions: int = N_ACTIONS, dim: int = DIM, hidden: tuple[int, ...] = (16,), optimizer: str = "adam",
    rate: float = 3e-3, **keywords: Any,
) -> Any:  # fmt: skip
    """One seed gives the same weights and the same random streams on every backend.

    optimizer: "adam", "adamw" or "sgd". keywords: of the agent's constructor.
    """
    at = backend_of(backend)
    body = Body((n_inputs,), False, hidden, "tanh", {})

    def network(number: int, n_outputs: int, n_more: int = 0) -> Network:
        design = body.network("", n_outputs, last_gain=1.0, n_more_inputs=n_more)
        return at.network(NetworkDesign(design.input_shape, (), design.denses, 100 * seed + number))

    def optimized(*networks: Network) -> Optimizer:
        return at.optimizer(optimizer, rate, networks)

    kind, keywords = at.agents[algorithm], {**_keywords_of(at, algorithm), **keywords}
    chosen = {**_FEW_UPDATES.get(algorithm, {}), **(params or {})}
    if algorithm in ("ppo", "gaussian_ppo"):
        n_outputs = 2 * dim if algorithm in CONTINUOUS else n_actions
        actor, critic = network(1, n_outputs), network(2, 1)
        besides = (dim,) if algorithm in CONTINUOUS else ()
        made = kind(actor, critic, optimized(actor, critic), *besides, chosen, **keywords)
    elif algorithm == "dqn":
        q = network(1, n_actions)
        made = kind(q, n_actions, optimized(q), chosen, **keywords)
    elif algorithm == "sac":
        actor, *critics = network(1, 2 * dim), network(2, 1, dim), network(3, 1, dim)
        optimizers = optimized(actor), optimized(*critics), optimized(actor)
        made = kind(actor, *critics, dim, *optimizers, chosen, **keywords)
    else:
        model = network(1, n_actions)
        made = kind(model, optimized(model), chosen, **keywords)
    made.seed(np.random.default_rng(seed))
    return made


_FEW_UPDATES: dict[str, dict[str, Any]] = {
    "ppo": {"n_epochs": 2, "minibatch_size": 32},
    "gaussian_ppo": {"n_epochs": 2, "minibatch_size": 32},
    "dqn": {"batch_size": 16, "replay_capacity": 2000, "updates_per_step": 0.1},
    "sac": {"batch_size": 16, "replay_capacity": 2000, "updates_per_step": 0.1, "learning_starts": 0},
}


def _keywords_of(backend: Backend, algorithm: str) -> dict[str, Any]:
    return {} if algorithm == "a2c" else dict(backend.keywords)


def _torch() -> Backend:
    import torch

    from tensor_optix.adapters.pytorch.torch_agent import TorchAgent
    from tensor_optix.algorithms.torch_dqn import TorchDQNAgent
    from tensor_optix.algorithms.torch_networks import network
    from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
    from tensor_optix.algorithms.torch_ppo_continuous import TorchGaussianPPOAgent
    from tensor_optix.algorithms.torch_sac import TorchSACAgent

    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}

    def optimizer(kind: str, rate: float, networks: Sequence[Network]) -> Optimizer:
        return kinds[kind]([p for network in networks for p in network.parameters()], lr=rate)

    agents = {"ppo": TorchPPOAgent, "gaussian_ppo": TorchGaussianPPOAgent, "dqn": TorchDQNAgent,
              "sac": TorchSACAgent, "a2c": TorchAgent}  # fmt: skip
    return Backend("torch", network, optimizer, agents, {"device": "cpu"})


def _jax() -> Backend:
    import optax

    from tensor_optix.adapters.jax.flax_agent import FlaxAgent
    from tensor_optix.algorithms.flax_dqn import FlaxDQNAgent
    from tensor_optix.algorithms.flax_networks import network
    from tensor_optix.algorithms.flax_ppo import FlaxPPOAgent
    from tensor_optix.algorithms.flax_ppo_continuous import FlaxGaussianPPOAgent
    from tensor_optix.algorithms.flax_sac import FlaxSACAgent

    kinds = {"adam": optax.adam, "adamw": optax.adamw, "sgd": optax.sgd}
    agents = {"ppo": FlaxPPOAgent, "gaussian_ppo": FlaxGaussianPPOAgent, "dqn": FlaxDQNAgent,
              "sac": FlaxSACAgent, "a2c": FlaxAgent}  # fmt: skip
    return Backend("jax", network, lambda kind, rate, networks: kinds[kind](rate), agents)


def _tf() -> Backend:
    from tensor_optix.adapters.tensorflow.tf_agent import TFAgent
    from tensor_optix.algorithms.tf_dqn import TFDQNAgent
    from tensor_optix.algorithms.tf_networks import network
    from tensor_optix.algorithms.tf_ppo import TFPPOAgent
    from tensor_optix.algorithms.tf_ppo_continuous import TFGaussianPPOAgent
    from tensor_optix.algorithms.tf_sac import TFSACAgent
    from tensor_optix.backends.tf_import import keras

    kinds = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}
    agents = {"ppo": TFPPOAgent, "gaussian_ppo": TFGaussianPPOAgent, "dqn": TFDQNAgent,
              "sac": TFSACAgent, "a2c": TFAgent}  # fmt: skip
    keywords = {"jit_compile": False}
    return Backend("tf", network, lambda kind, rate, networks: kinds[kind](rate), agents, keywords)


# -- windows ---------------------------------------------------------------------------------------------------------


def window_for(agent: NetworkAgent, *, n_rows: int = 80, seed: int = 0, n_inputs: int = N_INPUTS) -> EpisodeData:
    """Rows that ``agent`` acted in, with terminated and truncated env episodes."""
    rng = np.random.default_rng(seed)
    observations = rng.standard_normal((n_rows, n_inputs)).astype(np.float32)
    actions, extras = agent.act_batch(observations, rng=rng)
    terminated = (rng.random(n_rows) < 0.05).tolist()
    truncated = [bool(row % 20 == 19) and not terminated[row] for row in range(n_rows)]
    ends = [row for row in range(n_rows) if terminated[row] or truncated[row] or row == n_rows - 1]
    return EpisodeData(
        observations, actions, rng.standard_normal(n_rows).tolist(), terminated, truncated, [{}] * n_rows, 0,
        extras=extras, final_observations={row: rng.standard_normal(n_inputs).astype(np.float32) for row in ends},
    )  # fmt: skip


TARGETS = np.array([-0.6, 0.1, 0.7], np.float32)


def play(agent: NetworkAgent, rng: np.random.Generator, n_rows: int = 128) -> EpisodeData:
    """Env episodes of one step: name the state that is shown, or give the number that belongs to it (``TARGETS``)."""
    states = rng.integers(0, 3, n_rows)
    observations = np.eye(3, dtype=np.float32)[states]
    actions, extras = agent.act_batch(observations, rng=rng)
    if agent.acts_in_unit_box:
        rewards = -np.square(actions[:, 0] - TARGETS[states])
    else:
        rewards = (actions == states).astype(float)
    return EpisodeData(
        observations, actions, rewards.tolist(), [True] * n_rows, [False] * n_rows, [{}] * n_rows, 0, extras=extras,
        final_observations={row: observations[row] for row in range(n_rows)},
    )  # fmt: skip


# -- weights, whatever the framework calls them ----------------------------------------------------------------------

_KINDS = {"weight": 0, "kernel": 0, "bias": 1, "value": 0}


def canonical(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Of one network of dense layers, or one number: weights [in, out] and bias of each layer, from first to last."""

    def place(name: str) -> tuple[Any, int]:
        *layer, kind = name.split(".")
        numbers = re.findall(r"\d+", ".".join(layer))
        return int(numbers[-1]) if numbers else 0, _KINDS[kind]

    return [
        arrays[name].T if name.endswith("weight") else arrays[name] for name in sorted(arrays, key=place)
    ]


def weights_of(agent: NetworkAgent) -> dict[str, list[np.ndarray]]:
    """By network."""
    return {name: canonical(arrays) for name, arrays in agent.policy_state()["networks"].items()}
