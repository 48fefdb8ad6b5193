"""How does a module of flax.nnx look as layers?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tensor_optix.algorithms.flax_networks import Pixels, flattened
from tensor_optix.export.layers import FLATTEN, Activation, Conv, Dense, Layer, LayerNorm
from tensor_optix.export.recognising import Unsupported, pixels

_ACTIVATIONS: dict[Callable[..., Any], Activation] = {
    function: activation
    for functions, activation in (
        ((jnp.tanh, jax.nn.tanh, nnx.tanh), Activation("tanh")),
        ((jax.nn.relu, nnx.relu), Activation("relu")),
        ((jax.nn.sigmoid, nnx.sigmoid), Activation("sigmoid")),
        ((jax.nn.elu, nnx.elu), Activation("elu", 1.0)),
        ((jax.nn.leaky_relu, nnx.leaky_relu), Activation("leaky_relu", 0.01)),
        ((jax.nn.silu, nnx.silu), Activation("silu")),
        ((jax.nn.softplus, nnx.softplus), Activation("softplus")),
        ((jax.nn.gelu, nnx.gelu), Activation("gelu_tanh")),
    )
    for function in functions
}


def layers_of(module: Any) -> Iterator[Layer]:
    """The layers of a module in evaluation mode. Raises Unsupported for what has no description."""
    if type(module) is nnx.Sequential and "__call__" not in vars(module):
        for part in module.layers:
            yield from layers_of(part)
    elif isinstance(module, nnx.Module):
        yield from _weighted(module)
    elif module is flattened:
        yield FLATTEN
    elif module in _ACTIVATIONS:
        yield _ACTIVATIONS[module]
    else:
        raise Unsupported(f"the function {module!r}")


def _weighted(module: Any) -> Iterator[Layer]:
    kind = type(module)
    if kind is nnx.Linear:
        yield Dense(_array(module.kernel), _bias(module.bias, module.out_features))
    elif kind is nnx.Conv and _is_plain(module):
        yield Conv(_array(module.kernel), _bias(module.bias, module.out_features), _pair(module.strides), (0, 0))
    elif kind is nnx.LayerNorm and module.scale is not None and module.reduction_axes == -1 == module.feature_axes:
        yield LayerNorm(_array(module.scale), _bias(module.bias, module.num_features), float(module.epsilon))
    elif kind is nnx.Dropout:
        return
    elif kind is Pixels:
        yield from pixels(module.axes)
    else:
        raise Unsupported(kind.__name__)


def _is_plain(conv: Any) -> bool:
    is_valid = conv.padding == "VALID" and conv.feature_group_count == 1 and conv.mask is None
    return is_valid and len(conv.kernel_size) == 2 and conv.input_dilation == conv.kernel_dilation == 1


def _pair(strides: Any) -> tuple[int, int]:
    return (int(strides), int(strides)) if isinstance(strides, int) else (int(strides[0]), int(strides[1]))


def _bias(parameter: Any, size: int) -> np.ndarray:
    return np.zeros(size, np.float32) if parameter is None else _array(parameter)


def _array(parameter: Any) -> np.ndarray:
    return np.array(parameter.get_value(), dtype=np.float32)
