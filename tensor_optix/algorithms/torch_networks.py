"""Networks and agents that fit an environment, for users who bring none (PyTorch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

from tensor_optix._lazy import missing

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise missing("torch") from error

from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.core.types import HyperparamSet

HIDDEN_GAIN = sqrt(2)
FIRST_POLICY_GAIN = 0.01  # a first policy that prefers no action


def dense_ppo(
    n_inputs: int, n_actions: int, hidden: Sequence[int], hyperparams: Mapping[str, Any], *, seeds: tuple[int, int]
) -> TorchPPOAgent:
    """PPO with two dense networks on the CPU, where networks this small are fastest.

    seeds: of the initial weights of actor and critic.
    """
    actor = mlp(n_inputs, hidden, n_actions, last_gain=FIRST_POLICY_GAIN, seed=seeds[0])
    critic = mlp(n_inputs, hidden, 1, last_gain=1.0, seed=seeds[1])
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=hyperparams["learning_rate"])
    return TorchPPOAgent(actor, critic, optimizer, HyperparamSet(dict(hyperparams)), device="cpu")


def use_one_thread() -> None:
    """For the whole process: more threads only slow small networks down, and one gives the same bits everywhere."""
    torch.set_num_threads(1)


def mlp(n_inputs: int, hidden: Sequence[int], n_outputs: int, *, last_gain: float, seed: int) -> nn.Sequential:
    """Dense tanh network with orthogonal initial weights and zero biases (Andrychowicz et al. 2021).

    last_gain: scale of the output layer.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = [n_inputs, *hidden, n_outputs]
    layers: list[nn.Module] = []
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        is_last = number == len(hidden)
        layer = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(layer.weight, last_gain if is_last else HIDDEN_GAIN, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer] if is_last else [layer, nn.Tanh()]
    return nn.Sequential(*layers)
