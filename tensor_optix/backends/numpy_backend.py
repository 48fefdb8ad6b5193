"""NumPy: the oracle of the losses' tests, and the fast way to act with a small dense network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


class NumpyOps:
    """``Ops`` in NumPy. Nothing is differentiated here, so ``stop_gradient`` is the identity."""

    def exp(self, x: Any) -> Any:
        return np.exp(x)

    def tanh(self, x: Any) -> Any:
        return np.tanh(x)

    def softplus(self, x: Any) -> Any:
        return np.logaddexp(x, 0.0)

    def abs(self, x: Any) -> Any:
        return np.abs(x)

    def square(self, x: Any) -> Any:
        return np.square(x)

    def clip(self, x: Any, low: Any, high: Any) -> Any:
        return np.clip(x, low, high)

    def minimum(self, x: Any, y: Any) -> Any:
        return np.minimum(x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        return np.maximum(x, y)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return np.where(condition, x, y)

    def mean(self, x: Any) -> Any:
        return np.mean(x)

    def sum_last(self, x: Any) -> Any:
        return np.sum(x, axis=-1)

    def log_softmax(self, x: Any) -> Any:
        shifted = x - np.max(x, axis=-1, keepdims=True)
        return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))

    def take_last(self, x: Any, index: Any) -> Any:
        return np.take_along_axis(x, np.asarray(index)[..., None], axis=-1)[..., 0]

    def argmax_last(self, x: Any) -> Any:
        return np.argmax(x, axis=-1)

    def squeeze_last(self, x: Any) -> Any:
        return np.squeeze(x, axis=-1)

    def concat_last(self, parts: Sequence[Any]) -> Any:
        return np.concatenate(parts, axis=-1)

    def flat_rows(self, x: Any) -> Any:
        return x.reshape(len(x), -1)

    def stop_gradient(self, x: Any) -> Any:
        return x


InPlace = Callable[[np.ndarray], Any]
"""An activation function that overwrites its argument."""


@dataclass(frozen=True)
class Dense:
    """``x @ weight + bias``, then the activations; weight [in, out], bias [out], perhaps views of other memory."""

    weight: np.ndarray
    bias: np.ndarray | None = None
    activations: tuple[InPlace, ...] = ()

    def followed_by(self, activation: InPlace) -> Dense:
        """This layer with one activation more."""
        return replace(self, activations=(*self.activations, activation))


class HostMLP:
    """A stack of dense layers in float32, for acting: a few microseconds where a framework's call takes tens.

    The weights are used where they lie, so that an update in place is seen at once. Hidden layers reuse one buffer
    each (for the last batch size seen); the output is a fresh array.
    """

    def __init__(self, layers: Sequence[Dense], *, flatten: bool = False) -> None:
        self.layers = tuple(layers)
        self._flatten = flatten
        self._buffers: list[np.ndarray] = []

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs [N, out] for inputs [N, in] (or [N, ...] when flattening)."""
        n = len(x)
        if self._flatten:
            x = x.reshape(n, -1)
        if not self._buffers or len(self._buffers[0]) != n:
            self._buffers = [np.empty((n, layer.weight.shape[1]), np.float32) for layer in self.layers]
        for layer, buffer in zip(self.layers, self._buffers, strict=True):
            x = x.dot(layer.weight, buffer)
            if layer.bias is not None:
                x += layer.bias
            for activate in layer.activations:
                activate(x)
        return x.copy()


_ZERO = np.float32(0.0)  # a number of Python's takes as long to convert as a small layer to rectify


def tanh(x: np.ndarray) -> None:
    np.tanh(x, out=x)


def relu(x: np.ndarray) -> None:
    np.maximum(x, _ZERO, out=x)


def sigmoid(x: np.ndarray) -> None:
    """1 / (1 + exp(-x)), written with tanh so that it cannot overflow."""
    np.tanh(x * 0.5, out=x)
    x += 1.0
    x *= 0.5


def elu(x: np.ndarray, alpha: float) -> None:
    np.copyto(x, alpha * np.expm1(np.minimum(x, 0.0)), where=x < 0.0)


def leaky_relu(x: np.ndarray, slope: float) -> None:
    np.multiply(x, slope, out=x, where=x < 0.0)
