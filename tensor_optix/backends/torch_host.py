"""Dense stacks of PyTorch seen from NumPy: small networks act several times faster there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import is_
from typing import Any

import torch
from torch import nn

from tensor_optix.backends import numpy_backend
from tensor_optix.backends.numpy_backend import Dense, HostMLP, InPlace

_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], InPlace]] = {
    nn.Tanh: lambda layer: numpy_backend.tanh,
    nn.ReLU: lambda layer: numpy_backend.relu,
    nn.Sigmoid: lambda layer: numpy_backend.sigmoid,
    nn.ELU: lambda layer: partial(numpy_backend.elu, alpha=layer.alpha),
    nn.LeakyReLU: lambda layer: partial(numpy_backend.leaky_relu, slope=layer.negative_slope),
}


class HostStack:
    """A plain dense stack in float32 on the CPU; ``host`` is the same over NumPy views of its parameters.

    layers: of ``module``, a flattening layer perhaps first.
    """

    def __init__(self, module: nn.Sequential, layers: list[nn.Module]) -> None:
        self._module, self._parts = module, list(module)
        self._parameters = list(module.parameters())
        self._pointers = [parameter.data_ptr() for parameter in self._parameters]
        self.host = _host_mlp(layers)

    @classmethod
    def of(cls, module: nn.Module) -> HostStack | None:
        """None for anything else, a subclass or a hook included."""
        if type(module) is not nn.Sequential or any(_is_hooked_module(part) for part in module.modules()):
            return None
        layers = [layer for layer in module if type(layer) is not nn.Identity]
        stack = layers[1:] if layers and _is_flatten(layers[0]) else layers
        is_plain = all(_is_linear(layer) or type(layer) in _ACTIVATIONS for layer in stack)
        return cls(module, layers) if stack and _is_linear(stack[0]) and is_plain else None

    def fits(self) -> bool:
        """True while the module has the same parts, unhooked, over the same memory."""
        parts, layers = self._parts, self._module._modules.values()
        held = [p for part in parts for p in part._parameters.values() if p is not None]
        return (
            len(layers) == len(parts) and all(map(is_, layers, parts))
            and not any(map(_is_hooked_module, (self._module, *parts)))
            and len(held) == len(self._parameters) and all(map(is_, held, self._parameters))
            and [p.data_ptr() for p in held] == self._pointers
        )  # fmt: skip


def _is_hooked_module(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))


def _is_linear(layer: nn.Module) -> bool:
    return type(layer) is nn.Linear and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"


def _is_flatten(layer: nn.Module) -> bool:
    return type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1)


def _host_mlp(layers: list[nn.Module]) -> HostMLP:
    flatten = type(layers[0]) is nn.Flatten
    dense: list[Dense] = []
    for layer in layers[1:] if flatten else layers:
        if isinstance(layer, nn.Linear):
            bias = None if layer.bias is None else layer.bias.detach().numpy()
            dense.append(Dense(layer.weight.detach().numpy().T, bias))
        else:
            dense[-1] = dense[-1].followed_by(_ACTIVATIONS[type(layer)](layer))
    return HostMLP(dense, flatten=flatten)
