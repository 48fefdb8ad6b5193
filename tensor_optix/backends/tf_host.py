"""Dense stacks of Keras seen from NumPy: small networks act many times faster there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tensor_optix.backends import numpy_backend
from tensor_optix.backends.numpy_backend import Dense, HostMLP, InPlace
from tensor_optix.backends.tf_calls import DirectCall
from tensor_optix.backends.tf_import import keras, tf

_ACTIVATIONS: dict[Any, InPlace] = {
    keras.activations.tanh: numpy_backend.tanh,
    keras.activations.relu: numpy_backend.relu,
    keras.activations.sigmoid: numpy_backend.sigmoid,
    keras.activations.elu: partial(numpy_backend.elu, alpha=1.0),
    keras.activations.leaky_relu: partial(numpy_backend.leaky_relu, slope=0.2),
}


class HostStack:
    """A plain dense stack of Keras; ``now`` gives the same stack over copies of its weights.

    What it computes must be checked against the network once: a functional model may join its layers in other ways.
    """

    def __init__(self, dense: Sequence[Any], activations: Sequence[tuple[InPlace, ...]], *, flatten: bool) -> None:
        self._has_bias = [layer.use_bias for layer in dense]
        self._activations, self._flatten = activations, flatten
        weights = [w for layer in dense for w in ((layer.kernel, layer.bias) if layer.use_bias else (layer.kernel,))]
        # one call for all: reading one Keras weight after the other takes longer than a small update
        self._read = DirectCall(tf.function(lambda: [tf.identity(w.value) for w in weights], autograph=False))

    @classmethod
    def of(cls, network: Any) -> HostStack | None:
        """None where the network is anything else."""
        layers = _stack(network)
        if not layers:
            return None
        flatten = type(layers[0]) is keras.layers.Flatten
        dense: list[Any] = []
        activations: list[tuple[InPlace, ...]] = []
        for layer in layers[flatten:]:
            activation = _activation(layer)
            if type(layer) is keras.layers.Dense and layer.variable_dtype == layer.compute_dtype == "float32":
                dense.append(layer)
                activations.append(())
            elif type(layer) is not keras.layers.Activation or not dense:
                return None
            if activation is not keras.activations.linear:
                if activation not in _ACTIVATIONS:
                    return None
                activations[-1] = (*activations[-1], _ACTIVATIONS[activation])
        return cls(dense, activations, flatten=flatten) if dense else None

    def now(self) -> HostMLP:
        """With the weights of now."""
        weights = iter([weight.numpy() for weight in self._read()])
        layers = [
            Dense(next(weights), next(weights) if has_bias else None, activations)
            for has_bias, activations in zip(self._has_bias, self._activations, strict=True)
        ]
        return HostMLP(layers, flatten=self._flatten)


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


def _functional_class() -> type:
    inputs = keras.Input((1,))
    return type(keras.Model(inputs, inputs))


_FUNCTIONAL = _functional_class()
