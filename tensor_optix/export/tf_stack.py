"""How does a Keras model look as layers?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensor_optix.backends.tf_import import keras
from tensor_optix.export.layers import FLATTEN, Activation, Conv, Dense, Layer, LayerNorm, Permute, Reshape, Scale
from tensor_optix.export.recognising import Unsupported

_ACTIVATIONS: dict[Any, Activation | None] = {
    keras.activations.linear: None,
    keras.activations.tanh: Activation("tanh"),
    keras.activations.relu: Activation("relu"),
    keras.activations.sigmoid: Activation("sigmoid"),
    keras.activations.elu: Activation("elu", 1.0),
    keras.activations.leaky_relu: Activation("leaky_relu", 0.2),
    keras.activations.silu: Activation("silu"),
    keras.activations.softplus: Activation("softplus"),
}
_NOTHING = (keras.layers.InputLayer, keras.layers.Dropout, keras.layers.Identity)


def layers_of(model: Any) -> Iterator[Layer]:
    """The layers of a Sequential, or of a functional model that is a chain; in inference mode.

    Raises Unsupported for what has no description. That a functional model is a chain is for the caller to check, by
    its outputs.
    """
    if not isinstance(model, keras.Model):
        yield from _layer(model)
    elif not _is_own_class(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise Unsupported(f"{type(model).__name__} {model.name!r}")
    else:
        for part in model.layers:
            yield from layers_of(part)


def _is_own_class(model: Any) -> bool:
    """False for a subclass, which may compute anything."""
    return type(model).__module__.split(".")[0] == "keras"


def _layer(layer: Any) -> Iterator[Layer]:
    kind = type(layer)
    if kind in _NOTHING:
        return
    if kind is keras.layers.Dense and layer.built:
        yield Dense(_array(layer.kernel), _bias(layer.bias, layer.units))
        yield from _activation(layer.activation)
    elif kind is keras.layers.Conv2D and layer.built and _is_plain(layer):
        yield Conv(_array(layer.kernel), _bias(layer.bias, layer.filters), tuple(layer.strides), (0, 0))
        yield from _activation(layer.activation)
    elif kind is keras.layers.LayerNormalization and layer.built and layer.gamma is not None and _is_last(layer):
        yield LayerNorm(_array(layer.gamma), _bias(layer.beta, len(layer.gamma)), float(layer.epsilon))
    elif kind is keras.layers.Activation:
        yield from _activation(layer.activation)
    elif kind in (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU):
        yield _activation_layer(layer)
    else:
        yield from _shaping(layer)


def _shaping(layer: Any) -> Iterator[Layer]:
    kind = type(layer)
    if kind is keras.layers.Flatten and layer.data_format == "channels_last":
        yield FLATTEN
    elif kind is keras.layers.Reshape:
        yield Reshape(tuple(layer.target_shape))
    elif kind is keras.layers.Permute:
        yield Permute(tuple(axis - 1 for axis in layer.dims))
    elif kind is keras.layers.Rescaling and isinstance(layer.scale, float | int):
        yield Scale(float(layer.scale), float(layer.offset))
    else:
        raise Unsupported(f"{kind.__name__} {layer.name!r}")


def _activation(function: Any) -> Iterator[Layer]:
    if function not in _ACTIVATIONS:
        raise Unsupported(f"the activation {function!r}")
    activation = _ACTIVATIONS[function]
    if activation is not None:
        yield activation


def _activation_layer(layer: Any) -> Activation:
    if type(layer) is keras.layers.ReLU and layer.max_value is None and not (layer.threshold or layer.negative_slope):
        return Activation("relu")
    if type(layer) is keras.layers.LeakyReLU:
        return Activation("leaky_relu", float(layer.negative_slope))
    if type(layer) is keras.layers.ELU:
        return Activation("elu", float(layer.alpha))
    raise Unsupported(f"{type(layer).__name__} {layer.name!r}")


def _is_plain(conv: Any) -> bool:
    return (conv.padding, conv.data_format, conv.groups, tuple(conv.dilation_rate)) == (
        "valid", "channels_last", 1, (1, 1),
    )  # fmt: skip


def _is_last(layer: Any) -> bool:
    return len(layer.gamma.shape) == 1 and layer.axis in (-1, [-1])


def _bias(variable: Any, size: int) -> np.ndarray:
    return np.zeros(size, np.float32) if variable is None else _array(variable)


def _array(variable: Any) -> np.ndarray:
    return np.array(variable.numpy(), dtype=np.float32)
