"""How a whole sequence of updates becomes one call: minibatches in one XLA program, epochs in a graph around it.

XLA compiles for concrete shapes. The outer graph knows none: it gathers the rows of an epoch and hands [M, B, ...] to
the compiled part, with M filled up to a power of two. So neither the number of epochs, nor the length of the window,
nor any number compiles anew; another B does, and M where it passes a power of two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np

from tensor_optix.backends.base import EpochStop
from tensor_optix.backends.tf_calls import DirectCall
from tensor_optix.backends.tf_import import tf
from tensor_optix.backends.tf_updates import UpdateGraph

logger = logging.getLogger(__name__)

MAX_SKIPPED_IN_A_ROW = 5
"""So many updates in a row whose loss or gradient is not finite are no accident."""

_XLA_ERRORS = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.InternalError)

Tensor = Any
Counts = dict[str, Tensor]


class Compilation(Enum):
    """What becomes of a sequence of updates."""

    XLA = "xla"
    """A few seconds for each shape, then the fastest. Where XLA cannot, a graph takes its place, said once."""

    GRAPH = "graph"
    """Ready in one second for all shapes, and two to three times slower."""

    NONE = "none"
    """Operation by operation: for losses that are Python, and other ones in every window."""

    @classmethod
    def of(cls, jit_compile: bool) -> Compilation:
        """In the words of Keras."""
        return cls.XLA if jit_compile else cls.GRAPH


class Program:
    """The compiled sequence for one update.

    metric_names: of the metrics that the update gives, in any order.
    """

    def __init__(
        self,
        graph: UpdateGraph,
        metric_names: Sequence[str],
        stop_metric: str | None,
        dtype: str,
        compilation: Compilation,
    ) -> None:
        self._graph, self._dtype = graph, dtype
        self._names = list(metric_names)
        self._stop_at = None if stop_metric is None else self._names.index(stop_metric)
        self._calls: dict[tuple[Any, ...], DirectCall] = {}
        self._compilation, self._has_run = compilation, False
        self.n_traces = 0
        """How often the sequence was traced so far."""

    def __call__(
        self,
        data: Mapping[str, Tensor],
        rows: np.ndarray,
        scalars: Mapping[str, np.ndarray],
        max_grad_norm: float,
        skipped_in_a_row: int,
        stop: EpochStop | None,
    ) -> dict[str, np.ndarray]:
        """Run updates on ``data[rows[e, m]]``; scalars: [E, M] by name. Stops short at too many skipped in a row.

        Returns sums [n_metrics] and made_in_epoch of the last epoch that was run, made, skipped, in_a_row, and the
        loss and norm of the last update that was not finite.
        """
        arguments = (
            dict(data), tf.constant(_filled_up(rows), tf.int64), tf.constant(rows.shape[1], tf.int32),
            {name: tf.constant(_filled_up(value), self._dtype) for name, value in scalars.items()},
            tf.constant(max_grad_norm, self._dtype), tf.constant(skipped_in_a_row, tf.int32),
            tf.constant(np.inf if stop is None else stop.limit, self._dtype),
        )  # fmt: skip
        try:
            counts = self._sequence_for(data, scalars)(*arguments)
        except _XLA_ERRORS as error:
            if self._has_run or self._compilation is not Compilation.XLA:
                raise
            counts = self._without_xla(arguments, error)
        self._has_run = True
        return {name: value.numpy() for name, value in counts.items()}

    def means(self, counts: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Each metric's mean over the updates made in the last epoch; empty when there are none."""
        if not counts["made_in_epoch"]:
            return {}
        means = counts["sums"] / counts["made_in_epoch"]
        return {name: float(mean) for name, mean in zip(self._names, means, strict=True)}

    def _without_xla(self, arguments: tuple[Any, ...], error: Exception) -> Counts:
        """Compilation comes before the first operation that changes anything: nothing has happened yet."""
        self._calls.clear()
        self._compilation = Compilation.GRAPH
        data, _, _, scalars, *_ = arguments
        counts: Counts = self._sequence_for(data, scalars)(*arguments)
        reason = str(error).strip().splitlines()[0]
        logger.warning("XLA cannot compile this update (%s): it runs as a plain graph, which is slower", reason)
        return counts

    def _sequence_for(self, data: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> Callable[..., Counts]:
        if self._compilation is Compilation.NONE:
            return self._sequence
        key = (*((name, column.shape[1:], column.dtype) for name, column in data.items()), *scalars)
        if key not in self._calls:
            columns = {name: tf.TensorSpec([None, *column.shape[1:]], column.dtype) for name, column in data.items()}
            number, count = tf.TensorSpec([], self._dtype), tf.TensorSpec([], tf.int32)
            per_update = {name: tf.TensorSpec([None, None], self._dtype) for name in scalars}
            rows = tf.TensorSpec([None, None, None], tf.int64)
            traced = tf.function(self._sequence, autograph=False)
            self._calls[key] = DirectCall(traced, columns, rows, count, per_update, number, count, number)
            self.n_traces += traced.experimental_get_tracing_count()
        return self._calls[key]

    def _sequence(
        self, data: Counts, rows: Tensor, n_minibatches: Tensor, scalars: Counts, max_grad_norm: Tensor,
        in_a_row: Tensor, limit: Tensor,
    ) -> Counts:  # fmt: skip
        """[E, M, B] in a graph: epochs until one exceeds the limit, or too many updates in a row were skipped."""
        compiled = self._epoch
        if self._compilation is Compilation.XLA:
            compiled = tf.function(self._epoch, autograph=False, jit_compile=True)

        def epoch(number: Tensor, goes_on: Tensor, counts: Counts) -> tuple[Tensor, Tensor, Counts]:
            batches = {name: tf.gather(column, rows[number]) for name, column in data.items()}
            of_epoch = {name: values[number] for name, values in scalars.items()}
            counts = compiled(batches, n_minibatches, of_epoch, max_grad_norm, counts)
            goes_on = counts["in_a_row"] < MAX_SKIPPED_IN_A_ROW
            if self._stop_at is not None:
                mean = counts["sums"][self._stop_at] / tf.cast(counts["made_in_epoch"], self._dtype)
                goes_on &= ~(mean > limit)
            return number + 1, goes_on, counts

        n_epochs = tf.shape(rows)[0]
        _, _, counts = tf.while_loop(
            lambda number, goes_on, _: (number < n_epochs) & goes_on,
            epoch, (tf.constant(0), tf.constant(True), self._zeros(in_a_row)),
        )  # fmt: skip
        return counts  # type: ignore[no-any-return]

    def _epoch(
        self, batches: Counts, n_minibatches: Tensor, scalars: Counts, max_grad_norm: Tensor, counts: Counts
    ) -> Counts:
        """The first ``n_minibatches`` of [M, B] in one XLA program."""

        def minibatch(number: Tensor, counts: Counts) -> tuple[Tensor, Counts]:
            batch = {name: column[number] for name, column in batches.items()}
            values = {name: column[number] for name, column in scalars.items()}
            is_made, metrics, loss, norm = self._graph.attempt(batch, values, max_grad_norm)
            return number + 1, self._counted(counts, is_made, metrics, loss, norm)

        start = {**counts, "sums": tf.zeros_like(counts["sums"]), "made_in_epoch": tf.constant(0)}
        _, counts = tf.while_loop(
            lambda number, counts: (number < n_minibatches) & (counts["in_a_row"] < MAX_SKIPPED_IN_A_ROW),
            minibatch, (tf.constant(0), start),
        )  # fmt: skip
        return counts

    def _counted(self, counts: Counts, is_made: Tensor, metrics: Counts, loss: Tensor, norm: Tensor) -> Counts:
        made = tf.cast(is_made, tf.int32)
        values = tf.stack([tf.cast(tf.convert_to_tensor(metrics[name]), self._dtype) for name in self._names])
        return {
            "sums": counts["sums"] + tf.where(is_made, values, tf.zeros_like(values)),
            "made_in_epoch": counts["made_in_epoch"] + made,
            "made": counts["made"] + made,
            "skipped": counts["skipped"] + 1 - made,
            "in_a_row": tf.where(is_made, 0, counts["in_a_row"] + 1),
            "bad_loss": tf.where(is_made, counts["bad_loss"], loss),
            "bad_norm": tf.where(is_made, counts["bad_norm"], norm),
        }

    def _zeros(self, in_a_row: Tensor) -> Counts:
        none, zero = tf.constant(0), tf.zeros((), self._dtype)
        return {
            "sums": tf.zeros(len(self._names), self._dtype), "made_in_epoch": none, "made": none, "skipped": none,
            "in_a_row": in_a_row, "bad_loss": zero, "bad_norm": zero,
        }  # fmt: skip


def _filled_up(rows: np.ndarray) -> np.ndarray:
    """[E, M, ...] with zeros up to the next power of two in M, which are never looked at."""
    lacking = (1 << (rows.shape[1] - 1).bit_length()) - rows.shape[1]
    return np.pad(rows, [(0, 0), (0, lacking), *[(0, 0)] * (rows.ndim - 2)]) if lacking else rows
