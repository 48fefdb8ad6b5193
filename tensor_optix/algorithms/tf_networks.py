"""Networks and agents that fit an environment, for users who bring none (TensorFlow)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from tensor_optix.algorithms.designs import PIXEL_SCALE, AgentDesign, Dense, ImageLayout, NetworkDesign
from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.algorithms.tf_dqn import TFDQNAgent
from tensor_optix.algorithms.tf_ppo import TFPPOAgent
from tensor_optix.algorithms.tf_ppo_continuous import TFGaussianPPOAgent
from tensor_optix.algorithms.tf_sac import TFSACAgent
from tensor_optix.backends.tf_import import keras, tf

PPO_ADAM_EPSILON = 1e-5  # Huang et al. 2022, "The 37 implementation details of PPO", detail 3


def agent_of(design: AgentDesign) -> NetworkAgent:
    """The agent, with networks and optimizers of its own."""
    return {"ppo": _ppo, "gaussian_ppo": _gaussian_ppo, "dqn": _dqn, "sac": _sac}[design.kind](design)


def use_one_thread() -> None:
    """For the whole process: more threads only slow small networks down. Too late after the first operation."""
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def accelerators() -> list[str]:
    """What there is besides the CPU, by name."""
    return [device.name for device in tf.config.list_physical_devices("GPU")]


def network(design: NetworkDesign) -> keras.Sequential:
    """The model, with its initial weights."""
    features, dense = list(_features(design)), [layer for one in design.denses for layer in _dense(one)]
    first = features
    if design.image_shape is not None:
        first = [ImageAndNumbers(features, design.image_shape, design.n_beside)]
    model = keras.Sequential([keras.Input(design.input_shape), *first, *dense])
    _set_weights([*features, *dense], design.weights())
    return model


class ImageAndNumbers(keras.layers.Layer):  # type: ignore[misc]
    """Rows [image ‖ numbers] -> [features of the image ‖ numbers]. layers: what makes the features."""

    def __init__(self, layers: list[Any], image_shape: tuple[int, ...], n_numbers: int) -> None:
        super().__init__()
        self._features = keras.Sequential([keras.Input(image_shape), *layers])
        self._shape, self._n = image_shape, n_numbers

    def call(self, x: Any) -> Any:
        image, numbers = x[:, : -self._n], x[:, -self._n :]
        return tf.concat([self._features(tf.reshape(image, (-1, *self._shape))), numbers], -1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self._features.output_shape[-1] + self._n)


def _features(design: NetworkDesign) -> Iterator[Any]:
    """Layers before the dense ones: none for vectors."""
    if design.layout is not None:
        yield from _pixels(design.layout)
    for conv in design.convs:
        yield keras.layers.Conv2D(conv.n_outputs, conv.kernel, conv.stride, activation="relu")
    if design.convs:
        yield keras.layers.Flatten()


def _pixels(layout: ImageLayout) -> Iterator[Any]:
    """Images of bytes, in any layout, as [N, H, W, C] within 0 to 1."""
    yield keras.layers.Rescaling(PIXEL_SCALE)
    if layout.axes == "HW":
        yield keras.layers.Reshape((layout.height, layout.width, 1))
    elif layout.axes == "CHW":
        yield keras.layers.Permute((2, 3, 1))


def _dense(dense: Dense) -> Iterator[Any]:
    if not dense.has_layer_norm:
        yield keras.layers.Dense(dense.n_outputs, dense.activation)
        return
    yield keras.layers.Dense(dense.n_outputs)
    yield keras.layers.LayerNormalization(epsilon=1e-5)
    yield keras.layers.Activation(dense.activation)


def _set_weights(layers: list[Any], weights: list[np.ndarray]) -> None:
    """Biases are zero already."""
    weighted = [layer for layer in layers if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)]
    for layer, kernel in zip(weighted, weights, strict=True):
        layer.kernel.assign(kernel)


def _adam(design: AgentDesign, **keywords: Any) -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(design.learning_rate, **keywords)


def _ppo(design: AgentDesign) -> NetworkAgent:
    actor, critic = network(design.networks["actor"]), network(design.networks["critic"])
    optimizer = _adam(design, epsilon=PPO_ADAM_EPSILON)
    return TFPPOAgent(actor, critic, optimizer, design.hyperparams, device=design.device, **design.normalizers)


def _gaussian_ppo(design: AgentDesign) -> NetworkAgent:
    actor, critic = network(design.networks["actor"]), network(design.networks["critic"])
    optimizer = _adam(design, epsilon=PPO_ADAM_EPSILON)
    return TFGaussianPPOAgent(
        actor, critic, optimizer, design.n_actions, design.hyperparams, device=design.device, **design.normalizers
    )


def _dqn(design: AgentDesign) -> NetworkAgent:
    q = network(design.networks["q_network"])
    return TFDQNAgent(
        q, design.n_actions, _adam(design), design.hyperparams, device=design.device, **design.normalizers
    )


def _sac(design: AgentDesign) -> NetworkAgent:
    actor, critic1, critic2 = (network(design.networks[name]) for name in ("actor", "critic1", "critic2"))
    optimizers = (_adam(design), _adam(design), _adam(design))
    return TFSACAgent(
        actor, critic1, critic2, design.n_actions, *optimizers, design.hyperparams, device=design.device,
        **design.normalizers,
    )  # fmt: skip
