"""Networks that fit an environment, for users who bring none (PyTorch)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

import torch
from torch import nn

HIDDEN_GAIN = sqrt(2)


def mlp(n_inputs: int, hidden: Sequence[int], n_outputs: int, *, last_gain: float, seed: int) -> nn.Sequential:
    """Dense tanh network with orthogonal initial weights and zero biases (Andrychowicz et al. 2021).

    last_gain: scale of the output layer; 0.01 makes a first policy that prefers no action.
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
