"""``Ops`` in TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tensor_optix.backends.tf_import import tf


class TFOps:
    """``Ops`` in TensorFlow: in graphs, and for the first look at a loss eagerly."""

    def exp(self, x: Any) -> Any:
        return tf.exp(x)

    def tanh(self, x: Any) -> Any:
        return tf.tanh(x)

    def softplus(self, x: Any) -> Any:
        return tf.nn.softplus(x)

    def abs(self, x: Any) -> Any:
        return tf.abs(x)

    def square(self, x: Any) -> Any:
        return tf.square(x)

    def clip(self, x: Any, low: Any, high: Any) -> Any:
        return tf.clip_by_value(x, low, high)

    def minimum(self, x: Any, y: Any) -> Any:
        return tf.minimum(x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        return tf.maximum(x, y)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return tf.where(condition, x, y)

    def mean(self, x: Any) -> Any:
        return tf.reduce_mean(x)

    def sum_last(self, x: Any) -> Any:
        return tf.reduce_sum(x, -1)

    def log_softmax(self, x: Any) -> Any:
        return tf.nn.log_softmax(x, -1)

    def take_last(self, x: Any, index: Any) -> Any:
        """By a mask: the gradient of a gather is a scatter, which XLA runs row by row on a CPU."""
        is_taken = tf.one_hot(index, tf.shape(x)[-1], on_value=True, off_value=False, dtype=tf.bool)
        return tf.reduce_sum(tf.where(is_taken, x, tf.zeros((), x.dtype)), -1)

    def argmax_last(self, x: Any) -> Any:
        return tf.argmax(x, -1)

    def squeeze_last(self, x: Any) -> Any:
        return tf.squeeze(x, -1)

    def concat_last(self, parts: Sequence[Any]) -> Any:
        return tf.concat(list(parts), -1)

    def flat_rows(self, x: Any) -> Any:
        return tf.reshape(x, [-1, math.prod(x.shape[1:])])

    def stop_gradient(self, x: Any) -> Any:
        return tf.stop_gradient(x)


OPS = TFOps()
