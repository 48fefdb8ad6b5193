"""How do the minibatch updates of one epoch become one compiled program?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from tensor_optix.backends.base import Step, Update
from tensor_optix.backends.flax_modules import Modules, Structure, Values
from tensor_optix.backends.flax_ops import OPS
from tensor_optix.errors import ConfigError

MAX_SKIPPED_IN_A_ROW = 5
"""So many updates in a row whose loss or gradient is not finite are no accident."""


@dataclass(frozen=True)
class Optimized:
    """An optax transformation and the parameters it steps: their indices among all values, as a tree by name.

    The transformation sees that tree of arrays, network names on top, so labels and masks of the user's can be told
    by network.
    """

    transformation: optax.GradientTransformationExtraArgs
    networks: frozenset[str]
    indices: Any

    @classmethod
    def of(cls, transformation: Any, modules: Modules, networks: tuple[str, ...]) -> Optimized:
        """``transformation`` over all parameters of ``networks``. Raises ConfigError for what is none."""
        if not isinstance(transformation, optax.GradientTransformation):
            raise ConfigError(
                f"the optimizer of {', '.join(networks)} must be an optax transformation such as optax.adam(3e-4), "
                f"got {type(transformation).__name__}"
            )
        indices = {name: _nested(keys) for name, keys in modules.trained(networks).items()}
        return cls(optax.with_extra_args_support(transformation), frozenset(networks), indices)

    def tree(self, values: Values) -> Any:
        """Its parameters among ``values``."""
        return jax.tree.map(lambda index: values[index], self.indices)


class Progress(NamedTuple):
    """What the updates carry from one to the next, and a run from one epoch to the next.

    Few arrays: each takes microseconds to hand to a program and back, and each number of its own is an operation.
    """

    values: Values
    moments: dict[str, Any]
    counts: Any     # int32, by COUNTS
    is_over: Any
    bad: Any        # [2, steps]: losses and gradient norms of the last update that was skipped


class Settings(NamedTuple):
    """Run-time numbers: another value compiles nothing anew."""

    n_updates: Any         # so many of the first rows of an epoch are meant
    rates: Any             # [optimizers]: what their updates are multiplied by, in the order of the update's steps
    max_grad_norm: Any
    stop_limit: Any


EpochCall = Callable[[Progress, dict[str, Any], Any, dict[str, Any], Settings], tuple[Progress, Any]]
"""(progress, data, rows [M, B], scalars by name [M], settings) -> (progress, what ``Epoch.report`` reads). Without
rows data comes as [M, B, ...] already."""

COUNTS = ("n_made", "n_skipped", "skipped_in_a_row", "n_epochs")


@dataclass
class Epoch:
    """takes_host_arrays: data comes as NumPy arrays, which a single call takes faster than JAX's own (several calls
    would copy them again and again). Always the same way: to JAX they are two programs.
    metrics: names of what is summed over the updates of an epoch; known once it has run.
    """

    call: EpochCall
    takes_host_arrays: bool
    metrics: tuple[str, ...] = ()

    def report(self, numbers: Any) -> tuple[dict[str, int], dict[str, float]]:
        """COUNTS, and the sums with "count", how many updates they are of. All numbers come to the host as one
        array: each array costs as much as a small step.
        """
        found = numbers.tolist()
        counts = {name: int(count) for name, count in zip(COUNTS, found[: len(COUNTS)], strict=True)}
        return counts, dict(zip((*self.metrics, "count"), found[len(COUNTS) :], strict=True))


def compiled_epoch(
    update: Update,
    structure: Structure,
    modules: Modules,
    optimizers: Mapping[str, Optimized],
    *,
    stop_metric: str | None,
    takes_host_arrays: bool = False,
) -> Epoch:
    """One pass over the rows. A run that is over passes through unchanged, as after a fifth skip in a row.

    The number of epochs is no shape of this program: a run calls it once for each epoch, without waiting.
    """
    attempt = _Attempt(update, structure, modules, optimizers)

    def epoch(
        before: Progress, data: dict[str, Any], rows: Any, scalars: dict[str, Any], settings: Settings
    ) -> tuple[Progress, Any]:
        def at(number: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            """Batch and scalars of one update."""
            if rows is None:
                batch = {name: column[number] for name, column in data.items()}
            else:
                batch = {name: jnp.take(column, rows[number], axis=0, mode="clip") for name, column in data.items()}
            return batch, {name: column[number] for name, column in scalars.items()}

        def goes_on(carry: tuple[Any, Progress, Any]) -> Any:
            number, progress, _ = carry
            return (number < settings.n_updates) & ~progress.is_over

        def body(carry: tuple[Any, Progress, Any]) -> tuple[Any, Progress, Any]:
            number, progress, sums = carry
            progress, metrics = attempt(progress, *at(number), settings)
            return number + 1, progress, sums + metrics

        shape = jax.eval_shape(attempt, before, *at(0), settings)[1]
        start = (jnp.int32(0), before, jnp.zeros(shape.shape, shape.dtype))
        _, after, sums = jax.lax.while_loop(goes_on, body, start)
        is_over = after.is_over
        made.metrics = attempt.metrics
        if stop_metric is not None:
            is_over |= sums[made.metrics.index(stop_metric)] > settings.stop_limit * sums[-1]
        counts = after.counts.at[COUNTS.index("n_epochs")].add(jnp.int32(~before.is_over))
        return after._replace(counts=counts, is_over=is_over), jnp.concatenate([counts.astype(jnp.float32), sums])

    made = Epoch(jax.jit(epoch), takes_host_arrays)
    return made


class _Attempt:
    """One minibatch update, made as a whole or not at all.

    metrics: the names of what it returns, known once it was traced.
    """

    def __init__(
        self, update: Update, structure: Structure, modules: Modules, optimizers: Mapping[str, Optimized]
    ) -> None:
        self._update, self._structure, self._modules, self._optimizers = update, structure, modules, optimizers
        self.metrics: tuple[str, ...] = ()

    def __call__(
        self, before: Progress, batch: dict[str, Any], scalars: dict[str, Any], settings: Settings
    ) -> tuple[Progress, Any]:
        """Progress, and the metrics followed by 1; zeros where the update was skipped."""
        values, metrics = before.values, dict[str, Any]()
        gradients, each_loss, each_norm = [], [], []
        for step in self._update.steps:
            optimized = self._optimizers[step.optimizer]
            loss, found, gradient, values = loss_and_gradient(step, self._structure, optimized, values, batch, scalars)
            clipped, norm = _clipped(gradient, settings.max_grad_norm)
            metrics |= found
            gradients.append(clipped)
            each_loss.append(loss)
            each_norm.append(norm)
        moments = dict(before.moments)
        for number, (step, loss, gradient) in enumerate(zip(self._update.steps, each_loss, gradients, strict=True)):
            values, moments[step.optimizer] = self._stepped(
                step, values, before, gradient, loss, settings.rates[number]
            )
        values = self._moved_targets(values, scalars)
        numbers = jnp.stack([jnp.stack(each_loss), jnp.stack(each_norm)])
        is_finite = jnp.isfinite(numbers).all()
        metrics |= dict(zip(_norm_names(self._update), each_norm, strict=True))
        self.metrics = tuple(sorted(metrics))  # at every tracing the same
        told = jnp.stack([*(jnp.asarray(metrics[name], jnp.float32) for name in self.metrics), jnp.float32(1.0)])
        return self._outcome(before, values, moments, is_finite, numbers), jnp.where(is_finite, told, 0.0)

    def _stepped(
        self, step: Step, values: Values, before: Progress, gradient: Any, loss: Any, rate: Any
    ) -> tuple[Values, Any]:
        optimized = self._optimizers[step.optimizer]
        changes, moments = optimized.transformation.update(
            gradient, before.moments[step.optimizer], optimized.tree(before.values), value=loss
        )
        stepped = jax.tree.map(
            lambda x, change: (x + rate * change).astype(x.dtype), optimized.tree(values), changes
        )
        return _replaced(values, optimized.indices, stepped), moments

    def _moved_targets(self, values: Values, scalars: dict[str, Any]) -> Values:
        moved = list(values)
        for target, source in self._update.targets.items():
            tau = scalars["tau"]
            for key, index in self._modules.stored[target].items():
                theirs, own = values[self._modules.stored[source][key]], values[index]
                mixed = tau * theirs + (1 - tau) * own
                moved[index] = jnp.where(tau == 0, own, jnp.where(tau == 1, theirs, mixed)).astype(own.dtype)
        return moved

    def _outcome(
        self, before: Progress, values: Values, moments: dict[str, Any], is_finite: Any, numbers: Any
    ) -> Progress:
        def chosen(new: Any, old: Any) -> Any:
            return jnp.where(is_finite, new, old).astype(old.dtype)

        random = set(self._modules.random)  # random numbers that a skipped update drew are drawn
        n_made, n_skipped, in_a_row, n_epochs = before.counts
        in_a_row = jnp.where(is_finite, 0, in_a_row + 1)
        return Progress(
            values=[new if n in random else chosen(new, old)
                    for n, (new, old) in enumerate(zip(values, before.values, strict=True))],
            moments=jax.tree.map(chosen, moments, before.moments),
            counts=jnp.stack([n_made + is_finite, n_skipped + ~is_finite, in_a_row, n_epochs]),
            is_over=in_a_row >= MAX_SKIPPED_IN_A_ROW, bad=jnp.where(is_finite, before.bad, numbers),
        )  # fmt: skip


def loss_and_gradient(
    step: Step, structure: Structure, optimized: Optimized, values: Values, batch: Mapping[str, Any], scalars: Any
) -> tuple[Any, dict[str, Any], Any, Values]:
    """The step's loss, metrics, gradient as a tree, and ``values`` with what the calls of networks changed."""

    def objective(trained: Any) -> tuple[Any, Any]:
        networks = structure.networks(_replaced(values, optimized.indices, trained))
        loss, metrics = step.loss(OPS, networks, batch, scalars)
        return loss, (metrics, structure.values(networks))

    (loss, (metrics, after)), gradient = jax.value_and_grad(objective, has_aux=True)(optimized.tree(values))
    return loss, metrics, gradient, _replaced(after, optimized.indices, optimized.tree(values))


def _replaced(values: Values, indices: Any, replacements: Any) -> Values:
    """``values`` with those at ``indices`` replaced; both are trees of one structure."""
    replaced = list(values)
    for index, value in zip(jax.tree.leaves(indices), jax.tree.leaves(replacements), strict=True):
        replaced[index] = value
    return replaced


def _clipped(gradient: Any, max_norm: Any) -> tuple[Any, Any]:
    """The gradient clipped to the global norm ``max_norm``, and its norm before: as one flat vector, because a
    product of two is added up many numbers at a time, and a sum of squares one by one.
    """
    flat, as_tree = ravel_pytree(gradient)
    norm = jnp.sqrt(jnp.vdot(flat, flat, precision=jax.lax.Precision.HIGHEST))
    return as_tree(flat * jnp.where(norm > max_norm, max_norm / (norm + 1e-6), 1.0)), norm


def _norm_names(update: Update) -> list[str]:
    if len(update.steps) == 1:
        return ["grad_norm"]
    return [f"{step.optimizer}_grad_norm" for step in update.steps]


def _nested(keys: Mapping[str, int]) -> dict[str, Any]:
    """``{"layers.0.kernel": 3}`` as ``{"layers": {"0": {"kernel": 3}}}``."""
    tree: dict[str, Any] = {}
    for key, index in keys.items():
        *branches, leaf = key.split(".")
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
        node[leaf] = index
    return tree
