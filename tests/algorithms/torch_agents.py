"""One small PyTorch agent of each algorithm, and windows that they can learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters.pytorch.torch_agent import TorchAgent
from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.algorithms.torch_dqn import TorchDQNAgent
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.algorithms.torch_ppo_continuous import TorchGaussianPPOAgent
from tensor_optix.algorithms.torch_sac import TorchSACAgent
from tensor_optix.core.types import EpisodeData
from tests.agents_of_backends import window_for

torch.set_num_threads(1)  # threads cost more than they give at these sizes

ACTIONS, DIM = 3, 2


def mlp(n_in: int, n_out: int, hidden: int = 16) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, hidden), nn.Tanh(), nn.Linear(hidden, n_out))


def adam(*modules: nn.Module, rate: float = 3e-4) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for module in modules for p in module.parameters()], lr=rate)


def ppo(n_in: int = 4, params: Any = None, *, kind: type = TorchPPOAgent, rate: float = 3e-4, **keywords: Any) -> Any:
    actor, critic = mlp(n_in, ACTIONS), mlp(n_in, 1)
    return kind(actor, critic, adam(actor, critic, rate=rate), params or {}, device="cpu", **keywords)


def gaussian_ppo(n_in: int = 4, params: Any = None, *, dim: int = DIM, rate: float = 3e-4, **keywords: Any) -> Any:
    actor, critic = mlp(n_in, 2 * dim), mlp(n_in, 1)
    optimizer = adam(actor, critic, rate=rate)
    return TorchGaussianPPOAgent(actor, critic, optimizer, dim, params or {}, device="cpu", **keywords)


def dqn(n_in: int = 4, params: Any = None, *, rate: float = 3e-4, **keywords: Any) -> Any:
    q = mlp(n_in, ACTIONS)
    chosen = {"batch_size": 16, "replay_capacity": 2000, "updates_per_step": 0.25, **(params or {})}
    return TorchDQNAgent(q, ACTIONS, adam(q, rate=rate), chosen, device="cpu", **keywords)


def sac(n_in: int = 4, params: Any = None, *, dim: int = DIM, rate: float = 3e-4, **keywords: Any) -> Any:
    actor, critic1, critic2 = mlp(n_in, 2 * dim), mlp(n_in + dim, 1), mlp(n_in + dim, 1)
    replay = {"batch_size": 16, "replay_capacity": 2000, "updates_per_step": 0.25, "learning_starts": 0}
    chosen = {**replay, **(params or {})}
    optimizers = adam(actor, rate=rate), adam(critic1, critic2, rate=rate), adam(nn.Linear(1, 1), rate=rate)
    return TorchSACAgent(actor, critic1, critic2, dim, *optimizers, chosen, device="cpu", **keywords)


def generic(n_in: int = 4, params: Any = None, *, rate: float = 3e-4, **keywords: Any) -> Any:
    model = mlp(n_in, ACTIONS)
    return TorchAgent(model, adam(model, rate=rate), params or {}, device="cpu", **keywords)


MAKERS: dict[str, Callable[..., Any]] = {
    "ppo": ppo, "gaussian ppo": gaussian_ppo, "dqn": dqn, "sac": sac, "generic": generic,
}  # fmt: skip
CONTINUOUS = ("gaussian ppo", "sac")


def make(name: str, *arguments: Any, seed: int = 0, **keywords: Any) -> Any:
    """A seeded agent with seeded initial weights."""
    torch.manual_seed(seed)
    agent = MAKERS[name](*arguments, **keywords)
    agent.seed(np.random.default_rng(seed))
    return agent


def window(agent: NetworkAgent, n_rows: int = 80, seed: int = 0, n_in: int = 4) -> EpisodeData:
    """Rows that the agent acted in, with terminated and truncated env episodes."""
    return window_for(agent, n_rows=n_rows, seed=seed, n_inputs=n_in)


def one_step_episodes(observations: np.ndarray, actions: np.ndarray, rewards: Any, extras: Any = None) -> EpisodeData:
    n = len(observations)
    return EpisodeData(
        observations, actions, np.asarray(rewards, float).tolist(), [True] * n, [False] * n, [{}] * n, 0,
        extras=extras or {},
    )  # fmt: skip


def weights_of(agent: NetworkAgent) -> dict[str, np.ndarray]:
    networks = agent.policy_state()["networks"]
    return {f"{name}.{key}": array for name, layers in networks.items() for key, array in layers.items()}


def same_weights(left: NetworkAgent, right: NetworkAgent) -> bool:
    a, b = weights_of(left), weights_of(right)
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
