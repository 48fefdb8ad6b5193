"""What is a policy's network made of, whatever framework it was written in? Layers as values that NumPy can compute.

Images are channels-last here ([N, H, W, C]); a network that has them first is described with ``Permute`` around its
convolutions. Everything is float32 except inside ``Normalise``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from tensor_optix.errors import ConfigError

Shape = tuple[int, ...]
"""Of one row: without the batch axis."""

MAX_ELEMENTS = 1 << 24
"""Numbers between two layers, for one observation: a file that asks for more is not believed."""


class Layer(ABC):
    """One step of a network: rows [N, *shape] -> rows [N, *output_shape(shape)]."""

    @abstractmethod
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The layer's outputs, in float32."""

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one output row. Raises ConfigError where such rows cannot be taken. Default: the same."""
        return shape


@dataclass(frozen=True, eq=False)
class Normalise(Layer):
    """``clip((x - mean) / divisor, -limit, limit)``, computed in float64 as training does."""

    mean: np.ndarray
    divisor: np.ndarray
    limit: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        normalised = (np.asarray(x, np.float64) - self.mean) / self.divisor
        narrow: np.ndarray = np.clip(normalised, -self.limit, self.limit).astype(np.float32)
        return narrow

    def output_shape(self, shape: Shape) -> Shape:
        _require(shape == self.mean.shape == self.divisor.shape, self, shape)
        return shape


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """``x @ weight + bias`` over the last axis; weight [in, out], bias [out]."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y: np.ndarray = x @ self.weight + self.bias
        return y

    def output_shape(self, shape: Shape) -> Shape:
        _require(self.weight.ndim == 2 and shape[-1:] == self.weight.shape[:1], self, shape)
        _require(self.bias.shape == self.weight.shape[1:], self, shape)
        return (*shape[:-1], self.weight.shape[1])


@dataclass(frozen=True, eq=False)
class Conv(Layer):
    """Cross-correlation of images [H, W, C]; kernel [kh, kw, C, out], bias [out]; zeros around height and width."""

    kernel: np.ndarray
    bias: np.ndarray
    strides: tuple[int, int]
    padding: tuple[int, int]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        (kh, kw), (high, wide) = self.kernel.shape[:2], self.padding
        padded = np.pad(x, ((0, 0), (high, high), (wide, wide), (0, 0)))
        patches = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))  # [N, H', W', C, kh, kw]
        patches = patches[:, :: self.strides[0], :: self.strides[1]]
        y: np.ndarray = np.tensordot(patches, self.kernel, axes=((4, 5, 3), (0, 1, 2))) + self.bias
        return y

    def output_shape(self, shape: Shape) -> Shape:
        _require(len(shape) == 3 and self.kernel.ndim == 4 and shape[2] == self.kernel.shape[2], self, shape)
        _require(self.bias.shape == self.kernel.shape[3:] and min(self.strides) > 0 <= min(self.padding), self, shape)
        sizes = [
            (size + 2 * pad - kernel) // stride + 1
            for size, pad, kernel, stride in zip(shape, self.padding, self.kernel.shape, self.strides, strict=False)
        ]
        _require(min(sizes) > 0, self, shape)
        return (sizes[0], sizes[1], self.kernel.shape[3])


@dataclass(frozen=True, eq=False)
class LayerNorm(Layer):
    """``(x - mean) / sqrt(var + epsilon) * scale + bias`` over the last axis (Ba et al. 2016)."""

    scale: np.ndarray
    bias: np.ndarray
    epsilon: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        y: np.ndarray = centred / np.sqrt(variance + np.float32(self.epsilon)) * self.scale + self.bias
        return y

    def output_shape(self, shape: Shape) -> Shape:
        _require(shape[-1:] == self.scale.shape == self.bias.shape and self.epsilon >= 0.0, self, shape)
        return shape


@dataclass(frozen=True)
class Activation(Layer):
    """One of ``ACTIVATIONS``; ``parameter`` is the α of elu and the slope of leaky_relu."""

    function: str
    parameter: float = 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y: np.ndarray = ACTIVATIONS[self.function](x, np.float32(self.parameter))
        return y

    def output_shape(self, shape: Shape) -> Shape:
        _require(self.function in ACTIVATIONS, self, shape)
        return shape


@dataclass(frozen=True)
class Scale(Layer):
    """``x * factor + offset``."""

    factor: float
    offset: float = 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y: np.ndarray = x * np.float32(self.factor) + np.float32(self.offset)
        return y


@dataclass(frozen=True)
class Reshape(Layer):
    """Rows of another shape with the same numbers; ``shape`` may hold one -1."""

    shape: tuple[int, ...]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), *self.output_shape(x.shape[1:]))

    def output_shape(self, shape: Shape) -> Shape:
        known = prod(size for size in self.shape if size != -1)
        _require(self.shape.count(-1) <= 1 and known > 0 and prod(shape) % known == 0, self, shape)
        full = tuple(prod(shape) // known if size == -1 else size for size in self.shape)
        _require(min(full, default=0) > 0 and prod(full) == prod(shape), self, shape)
        return full


@dataclass(frozen=True)
class Permute(Layer):
    """The axes of a row in another order, counted from 0."""

    axes: tuple[int, ...]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x.transpose(0, *(axis + 1 for axis in self.axes))

    def output_shape(self, shape: Shape) -> Shape:
        _require(sorted(self.axes) == list(range(len(shape))), self, shape)
        return tuple(shape[axis] for axis in self.axes)


@dataclass(frozen=True)
class AddAxis(Layer):
    """A last axis of size 1: the channel of a grey image."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x[..., None]

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape, 1)


FLATTEN = Reshape((-1,))


def shape_after(layers: Sequence[Layer], shape: Shape) -> Shape:
    """The shape of a row after all layers. Raises ConfigError where they do not fit together or grow beyond reason."""
    for layer in layers:
        shape = layer.output_shape(shape)
        if prod(shape) > MAX_ELEMENTS:
            raise ConfigError(f"{type(layer).__name__} gives rows of {prod(shape)} numbers, more than {MAX_ELEMENTS}")
    return shape


def _gelu(x: np.ndarray, parameter: np.float32) -> np.ndarray:
    """The approximation by tanh (Hendrycks & Gimpel 2016)."""
    inner = np.float32(0.7978845608) * (x + np.float32(0.044715) * x * x * x)
    y: np.ndarray = np.float32(0.5) * x * (np.float32(1.0) + np.tanh(inner))
    return y


def _sigmoid(x: np.ndarray, parameter: np.float32) -> np.ndarray:
    """By tanh, which cannot overflow."""
    return np.float32(0.5) * np.tanh(np.float32(0.5) * x) + np.float32(0.5)


ACTIVATIONS: dict[str, Callable[[np.ndarray, np.float32], np.ndarray]] = {
    "tanh": lambda x, _: np.tanh(x),
    "relu": lambda x, _: np.maximum(x, np.float32(0.0)),
    "sigmoid": _sigmoid,
    "elu": lambda x, alpha: np.where(x < 0.0, alpha * np.expm1(np.minimum(x, np.float32(0.0))), x),
    "leaky_relu": lambda x, slope: np.where(x < 0.0, slope * x, x),
    "silu": lambda x, _: x * _sigmoid(x, np.float32(0.0)),
    "softplus": lambda x, _: np.logaddexp(x, np.float32(0.0)),
    "gelu_tanh": _gelu,
}


def _require(fits: bool, layer: Layer, shape: Shape) -> None:
    if not fits:
        raise ConfigError(f"the layer {type(layer).__name__} cannot take rows of shape {shape}")
