"""Networks and agents that fit an environment, for users who bring none (JAX, flax.nnx)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tensor_optix._lazy import missing

try:
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx
except ModuleNotFoundError as error:
    raise missing("jax") from error

from tensor_optix.algorithms.designs import PIXEL_SCALE, AgentDesign, Conv, Dense, ImageLayout, NetworkDesign
from tensor_optix.algorithms.flax_dqn import FlaxDQNAgent
from tensor_optix.algorithms.flax_ppo import FlaxPPOAgent
from tensor_optix.algorithms.flax_ppo_continuous import FlaxGaussianPPOAgent
from tensor_optix.algorithms.flax_sac import FlaxSACAgent
from tensor_optix.algorithms.network_agent import NetworkAgent

ACTIVATIONS = {"tanh": nnx.tanh, "relu": nnx.relu}
PPO_ADAM_EPSILON = 1e-5  # Huang et al. 2022, "The 37 implementation details of PPO", detail 3


def agent_of(design: AgentDesign) -> NetworkAgent:
    """The agent, with networks and optimizers of its own."""
    return {"ppo": _ppo, "gaussian_ppo": _gaussian_ppo, "dqn": _dqn, "sac": _sac}[design.kind](design)


def use_one_thread() -> None:
    """Nothing: XLA takes its number of threads from the environment, before JAX is loaded."""


def accelerators() -> list[str]:
    """What there is besides the CPU, by name."""
    return [str(device) for device in jax.devices() if device.platform != "cpu"]


def network(design: NetworkDesign) -> nnx.Sequential:
    """The module, with its initial weights."""
    weights = iter(design.weights())
    layers: list[Any] = [] if design.layout is None else [Pixels(design.layout)]
    for conv in design.convs:
        layers += [_conv(conv, next(weights)), nnx.relu]
    if design.convs:
        layers.append(flattened)
    if design.image_shape is not None:
        layers = [ImageAndNumbers(nnx.Sequential(*layers), design.image_shape, design.n_beside)]
    for dense in design.denses:
        layers += _dense(dense, next(weights))
    return nnx.Sequential(*layers)


class Pixels(nnx.Module):
    """Images of bytes, in any layout, as [N, H, W, C] within 0 to 1."""

    def __init__(self, layout: ImageLayout) -> None:
        self.axes = layout.axes

    def __call__(self, x: jax.Array) -> jax.Array:
        scaled = x * PIXEL_SCALE
        if self.axes == "HW":
            return scaled[..., None]
        return jnp.transpose(scaled, (0, 2, 3, 1)) if self.axes == "CHW" else scaled


class ImageAndNumbers(nnx.Module):
    """Rows [image ‖ numbers] -> [features of the image ‖ numbers]."""

    def __init__(self, features: nnx.Sequential, image_shape: tuple[int, ...], n_numbers: int) -> None:
        self.features, self.image_shape, self.n_numbers = features, image_shape, n_numbers

    def __call__(self, x: jax.Array) -> jax.Array:
        image, numbers = x[:, : -self.n_numbers], x[:, -self.n_numbers :]
        return jnp.concatenate([self.features(image.reshape(-1, *self.image_shape)), numbers], axis=-1)


def flattened(x: jax.Array) -> jax.Array:
    """[N, ...] as [N, D]."""
    return x.reshape(x.shape[0], -1)


def _conv(conv: Conv, weights: np.ndarray) -> nnx.Conv:
    size = (conv.kernel, conv.kernel)
    layer = nnx.Conv(
        conv.n_inputs, conv.n_outputs, size, strides=conv.stride, padding="VALID", rngs=nnx.Rngs(0)
    )
    layer.kernel.set_value(jnp.asarray(weights))
    return layer


def _dense(dense: Dense, weights: np.ndarray) -> Iterator[Any]:
    layer = nnx.Linear(dense.n_inputs, dense.n_outputs, rngs=nnx.Rngs(0))  # its biases are zero
    layer.kernel.set_value(jnp.asarray(weights))
    yield layer
    if dense.has_layer_norm:
        yield nnx.LayerNorm(dense.n_outputs, epsilon=1e-5, rngs=nnx.Rngs(0))
    if dense.activation is not None:
        yield ACTIVATIONS[dense.activation]


def _adam(design: AgentDesign, **keywords: Any) -> optax.GradientTransformation:
    return optax.flatten(optax.adam(design.learning_rate, **keywords))


def _ppo(design: AgentDesign) -> NetworkAgent:
    actor, critic = network(design.networks["actor"]), network(design.networks["critic"])
    optimizer = _adam(design, eps=PPO_ADAM_EPSILON)
    return FlaxPPOAgent(actor, critic, optimizer, design.hyperparams, design.device, **design.normalizers)


def _gaussian_ppo(design: AgentDesign) -> NetworkAgent:
    actor, critic = network(design.networks["actor"]), network(design.networks["critic"])
    optimizer = _adam(design, eps=PPO_ADAM_EPSILON)
    return FlaxGaussianPPOAgent(
        actor, critic, optimizer, design.n_actions, design.hyperparams, design.device, **design.normalizers
    )


def _dqn(design: AgentDesign) -> NetworkAgent:
    q = network(design.networks["q_network"])
    return FlaxDQNAgent(
        q, design.n_actions, _adam(design), design.hyperparams, design.device, **design.normalizers
    )


def _sac(design: AgentDesign) -> NetworkAgent:
    actor, critic1, critic2 = (network(design.networks[name]) for name in ("actor", "critic1", "critic2"))
    optimizers = (_adam(design), _adam(design), _adam(design))
    return FlaxSACAgent(
        actor, critic1, critic2, design.n_actions, *optimizers, design.hyperparams, design.device,
        **design.normalizers,
    )  # fmt: skip
