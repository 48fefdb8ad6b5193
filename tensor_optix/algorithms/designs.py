"""What do the networks and the agent for an environment look like, before any framework makes them?

Initial weights are drawn here, in NumPy: one seed gives the same ones on every backend and with any number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod, sqrt
from typing import Any

import numpy as np

from tensor_optix.core.hyperparams import LinearSchedule
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer
from tensor_optix.errors import ConfigError

HIDDEN_GAIN = sqrt(2)
FIRST_POLICY_GAIN = 0.01
"""Of a policy's last layer: a first policy that prefers no action (Andrychowicz et al. 2021)."""

LARGE_IMAGE = 36
"""From this many pixels on a side the three layers of Mnih et al. (2015) fit; below it, two small ones."""
LARGE_IMAGE_LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
SMALL_IMAGE_LAYERS = ((32, 3, 1), (64, 3, 1))
PIXEL_SCALE = 1.0 / 255.0


@dataclass(frozen=True)
class Dense:
    """Orthogonal weights [n_inputs, n_outputs] times ``gain``, zero biases; then, in this order, what is wanted."""

    n_inputs: int
    n_outputs: int
    gain: float
    has_layer_norm: bool = False
    activation: str | None = None

    def weights(self, rng: np.random.Generator) -> np.ndarray:
        """[n_inputs, n_outputs]"""
        return orthogonal(rng, self.n_inputs, self.n_outputs, self.gain)


@dataclass(frozen=True)
class Conv:
    """A square convolution without padding, then ReLU."""

    n_inputs: int
    n_outputs: int
    kernel: int
    stride: int

    def weights(self, rng: np.random.Generator) -> np.ndarray:
        """[kernel, kernel, n_inputs, n_outputs]"""
        flat = orthogonal(rng, self.kernel * self.kernel * self.n_inputs, self.n_outputs, HIDDEN_GAIN)
        return flat.reshape(self.kernel, self.kernel, self.n_inputs, self.n_outputs)

    def size_after(self, size: int) -> int:
        """Pixels on a side that are left of ``size``."""
        return (size - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class ImageLayout:
    """Which axis of an image is which: [H, W], [H, W, C] or [C, H, W]."""

    height: int
    width: int
    channels: int
    axes: str

    @classmethod
    def of(cls, shape: Sequence[int]) -> ImageLayout:
        """The smallest of three axes is taken for the channels (the last one, if there is a tie)."""
        if len(shape) == 2:
            return cls(shape[0], shape[1], 1, "HW")
        first, middle, last = shape
        if last <= min(first, middle):
            return cls(first, middle, last, "HWC")
        return cls(middle, last, first, "CHW")


@dataclass(frozen=True)
class NetworkDesign:
    """Convolutions over images of bytes (none over vectors), then dense layers; ``seed`` draws the weights.

    image_shape: of the image that an input, which is then one row of numbers, begins with; the numbers behind it
    (``n_beside``) join what the convolutions give. None where the input is a vector or an image itself.
    """

    input_shape: tuple[int, ...]
    convs: tuple[Conv, ...]
    denses: tuple[Dense, ...]
    seed: int
    image_shape: tuple[int, ...] | None = None

    @property
    def layout(self) -> ImageLayout | None:
        """None for vectors."""
        return ImageLayout.of(self.image_shape or self.input_shape) if self.convs else None

    @property
    def n_beside(self) -> int:
        """Numbers behind an image."""
        return self.input_shape[0] - prod(self.image_shape) if self.image_shape else 0

    def weights(self) -> list[np.ndarray]:
        """Initial weights of all convolutions and then of all dense layers, in float32."""
        rng = np.random.default_rng(self.seed)
        layers: tuple[Conv | Dense, ...] = (*self.convs, *self.denses)
        return [layer.weights(rng) for layer in layers]


@dataclass(frozen=True)
class AgentDesign:
    """kind: "ppo", "gaussian_ppo", "dqn" or "sac". networks: by the names that its constructor gives them.

    n_actions: of a discrete space, or numbers of one continuous action. compile: of PyTorch's updates (JAX and
    TensorFlow compile theirs in any case).
    """

    kind: str
    networks: Mapping[str, NetworkDesign]
    n_actions: int
    hyperparams: dict[str, Any]
    device: str = "cpu"
    obs_normalizer: ObsNormalizer | None = None
    reward_normalizer: RewardNormalizer | None = None
    compile: bool = False

    @property
    def learning_rate(self) -> float:
        """With which the optimizers are made: of a schedule, where it starts."""
        rate = self.hyperparams["learning_rate"]
        return float(rate.start if isinstance(rate, LinearSchedule) else rate)

    @property
    def normalizers(self) -> dict[str, Any]:
        """As every constructor takes them."""
        return {"obs_normalizer": self.obs_normalizer, "reward_normalizer": self.reward_normalizer}


@dataclass(frozen=True)
class Body:
    """What networks of one agent have in common below their last layers."""

    input_shape: tuple[int, ...]
    is_image: bool
    hidden: tuple[int, ...]
    activation: str
    seeds: Mapping[str, int] = field(default_factory=dict)

    def network(
        self, name: str, n_outputs: int, *, last_gain: float, n_more_inputs: int = 0, has_layer_norm: bool = False
    ) -> NetworkDesign:
        """The network ``name``, with its own seed. n_more_inputs: beside the observation, the action's."""
        convs = _convs(self.input_shape) if self.is_image else ()
        n_features = (_n_features(self.input_shape, convs) if convs else prod(self.input_shape)) + n_more_inputs
        denses = _denses((n_features, *self.hidden, n_outputs), last_gain, self.activation, has_layer_norm)
        seed, row = self.seeds.get(name, 0), (prod(self.input_shape) + n_more_inputs,)
        if convs and n_more_inputs:
            return NetworkDesign(row, convs, denses, seed, image_shape=self.input_shape)
        return NetworkDesign(self.input_shape if convs else row, convs, denses, seed)


def networks_for(kind: str, body: Body, n_actions: int) -> dict[str, NetworkDesign]:
    """The networks of an agent of ``kind``. Critics of SAC have layer normalisation (Ball et al. 2023)."""
    if kind in ("ppo", "gaussian_ppo"):
        n_outputs = n_actions if kind == "ppo" else 2 * n_actions
        return {
            "actor": body.network("actor", n_outputs, last_gain=FIRST_POLICY_GAIN),
            "critic": body.network("critic", 1, last_gain=1.0),
        }
    if kind == "dqn":
        return {"q_network": body.network("q_network", n_actions, last_gain=1.0)}
    critics = {
        name: body.network(name, 1, last_gain=1.0, n_more_inputs=n_actions, has_layer_norm=True)
        for name in ("critic1", "critic2")
    }
    return {"actor": body.network("actor", 2 * n_actions, last_gain=FIRST_POLICY_GAIN), **critics}


def orthogonal(rng: np.random.Generator, n_inputs: int, n_outputs: int, gain: float) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer, times ``gain``: [n_inputs, n_outputs] (Saxe et al. 2014)."""
    tall = rng.standard_normal((max(n_inputs, n_outputs), min(n_inputs, n_outputs)))
    q, r = np.linalg.qr(tall)
    q *= np.sign(np.diag(r))  # uniform over all orthogonal matrices (Mezzadri 2007)
    scaled: np.ndarray = (gain * (q if n_inputs >= n_outputs else q.T)).astype(np.float32)
    return scaled


def _denses(sizes: Sequence[int], last_gain: float, activation: str, has_layer_norm: bool) -> tuple[Dense, ...]:
    pairs = list(pairwise(sizes))
    hidden = [Dense(n, m, HIDDEN_GAIN, has_layer_norm, activation) for n, m in pairs[:-1]]
    return (*hidden, Dense(*pairs[-1], last_gain))


def _convs(shape: Sequence[int]) -> tuple[Conv, ...]:
    layout = ImageLayout.of(shape)
    smallest = min(layout.height, layout.width)
    layers = LARGE_IMAGE_LAYERS if smallest >= LARGE_IMAGE else SMALL_IMAGE_LAYERS
    if smallest < 5:
        raise ConfigError(f"images of {layout.height} x {layout.width} pixels are too small for convolutions: "
                          "flatten the observations")  # fmt: skip
    channels = [layout.channels, *(n for n, _, _ in layers)]
    return tuple(Conv(n, *layer) for n, layer in zip(channels, layers, strict=False))


def _n_features(shape: Sequence[int], convs: Sequence[Conv]) -> int:
    layout = ImageLayout.of(shape)
    height, width = layout.height, layout.width
    for conv in convs:
        height, width = conv.size_after(height), conv.size_after(width)
    return height * width * convs[-1].n_outputs
