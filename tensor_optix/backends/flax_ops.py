"""The operations of the losses in JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


class FlaxOps:
    """``Ops`` in jax.numpy."""

    def exp(self, x: Any) -> Any:
        return jnp.exp(x)

    def tanh(self, x: Any) -> Any:
        return jnp.tanh(x)

    def softplus(self, x: Any) -> Any:
        return jax.nn.softplus(x)

    def abs(self, x: Any) -> Any:
        return jnp.abs(x)

    def square(self, x: Any) -> Any:
        return jnp.square(x)

    def clip(self, x: Any, low: Any, high: Any) -> Any:
        return jnp.clip(x, low, high)

    def minimum(self, x: Any, y: Any) -> Any:
        return jnp.minimum(x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        return jnp.maximum(x, y)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return jnp.where(condition, x, y)

    def mean(self, x: Any) -> Any:
        return jnp.mean(x)

    def sum_last(self, x: Any) -> Any:
        return jnp.sum(x, axis=-1)

    def log_softmax(self, x: Any) -> Any:
        return jax.nn.log_softmax(x, axis=-1)

    def take_last(self, x: Any, index: Any) -> Any:
        """By a mask: the gradient of a gather is a scatter, which XLA runs row by row on a CPU."""
        is_taken = jnp.arange(x.shape[-1]) == jnp.asarray(index)[..., None]
        return jnp.sum(jnp.where(is_taken, x, 0), axis=-1)

    def argmax_last(self, x: Any) -> Any:
        return jnp.argmax(x, axis=-1)

    def squeeze_last(self, x: Any) -> Any:
        return jnp.squeeze(x, axis=-1)

    def concat_last(self, parts: Sequence[Any]) -> Any:
        return jnp.concatenate(list(parts), axis=-1)

    def flat_rows(self, x: Any) -> Any:
        return x.reshape(x.shape[0], -1)

    def stop_gradient(self, x: Any) -> Any:
        return jax.lax.stop_gradient(x)


OPS = FlaxOps()
