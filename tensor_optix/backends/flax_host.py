"""Dense stacks of flax.nnx seen from NumPy: small networks act several times faster there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tensor_optix.backends import numpy_backend
from tensor_optix.backends.numpy_backend import Dense, HostMLP, InPlace

_ACTIVATIONS: dict[Callable[..., Any], InPlace] = {
    jnp.tanh: numpy_backend.tanh,
    jax.nn.tanh: numpy_backend.tanh,
    nnx.tanh: numpy_backend.tanh,
    jax.nn.relu: numpy_backend.relu,
    nnx.relu: numpy_backend.relu,
    jax.nn.sigmoid: numpy_backend.sigmoid,
    nnx.sigmoid: numpy_backend.sigmoid,
    jax.nn.elu: partial(numpy_backend.elu, alpha=1.0),
    nnx.elu: partial(numpy_backend.elu, alpha=1.0),
    jax.nn.leaky_relu: partial(numpy_backend.leaky_relu, slope=0.01),
    nnx.leaky_relu: partial(numpy_backend.leaky_relu, slope=0.01),
}


def dense_layers(module: nnx.Module) -> list[Any] | None:
    """The layers of a plain ``nnx.Sequential`` of float32 ``nnx.Linear`` and activations; None for anything else."""
    if type(module) is not nnx.Sequential or "__call__" in vars(module):
        return None
    layers = list(module.layers)
    is_plain = all(_is_linear(layer) or _is_activation(layer) for layer in layers)
    return layers if layers and _is_linear(layers[0]) and is_plain else None


def host_mlp(layers: list[Any]) -> HostMLP:
    """The same stack over the parameters as they are now (JAX's arrays never change: later weights are other ones)."""
    dense: list[Dense] = []
    for layer in layers:
        if isinstance(layer, nnx.Linear):
            bias = None if layer.bias is None else np.asarray(layer.bias.get_raw_value())
            dense.append(Dense(np.asarray(layer.kernel.get_raw_value()), bias))
        else:
            dense[-1] = dense[-1].followed_by(_ACTIVATIONS[layer])
    return HostMLP(dense)


def _is_linear(layer: Any) -> bool:
    return type(layer) is nnx.Linear and layer.kernel.get_raw_value().dtype == jnp.float32


def _is_activation(layer: Any) -> bool:
    return callable(layer) and not isinstance(layer, nnx.Module) and layer in _ACTIVATIONS
