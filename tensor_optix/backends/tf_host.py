"""Dense stacks of Keras seen from NumPy: small networks act many times faster there."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tensor_optix.backends import numpy_backend
from tensor_optix.backends.numpy_backend import Dense, HostMLP, InPlace
from tensor_optix.backends.tf_import import keras

_ACTIVATIONS: dict[Any, InPlace] = {
    keras.activations.tanh: numpy_backend.tanh,
    keras.activations.relu: numpy_backend.relu,
    keras.activations.sigmoid: numpy_backend.sigmoid,
    keras.activations.elu: partial(numpy_backend.elu, alpha=1.0),
    keras.activations.leaky_relu: partial(numpy_backend.leaky_relu, slope=0.2),
}


def host_mlp(network: Any) -> HostMLP | None:
    """A plain dense stack over copies of its weights as they are now; None for anything else.

    What it computes must be checked against the network once: a functional model may join its layers in other ways.
    """
    layers = _stack(network)
    if not layers:
        return None
    flatten = type(layers[0]) is keras.layers.Flatten
    dense: list[Dense] = []
    for layer in layers[flatten:]:
        activation = _activation(layer)
        if type(layer) is keras.layers.Dense and layer.variable_dtype == layer.compute_dtype == "float32":
            dense.append(_dense(layer))
        elif type(layer) is not keras.layers.Activation or not dense:
            return None
        if activation is not keras.activations.linear:
            if activation not in _ACTIVATIONS:
                return None
            dense[-1] = dense[-1].followed_by(_ACTIVATIONS[activation])
    return HostMLP(dense, flatten=flatten) if dense else None


def _stack(network: Any) -> list[Any] | None:
    """The layers of a Sequential, or of a functional model of one input and one output."""
    if type(network) is keras.Sequential:
        layers = network.layers
    elif type(network) is keras.Model or type(network) is _FUNCTIONAL:
        layers = network.layers if len(network.inputs) == len(network.outputs) == 1 else []
    else:
        return None
    return [layer for layer in layers if type(layer) is not keras.layers.InputLayer]


def _activation(layer: Any) -> Any:
    return layer.activation if type(layer) in (keras.layers.Dense, keras.layers.Activation) else None


def _dense(layer: Any) -> Dense:
    bias = layer.bias.numpy().copy() if layer.use_bias else None
    return Dense(np.array(layer.kernel.numpy(), dtype=np.float32), bias)


def _functional_class() -> type:
    inputs = keras.Input((1,))
    return type(keras.Model(inputs, inputs))


_FUNCTIONAL = _functional_class()
