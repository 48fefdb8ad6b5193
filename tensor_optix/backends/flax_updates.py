"""How do the minibatch updates of one epoch become one compiled program?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tensor_optix.backends.base import Step, Update
from tensor_optix.backends.flax_modules import Modules, Structure, Values
from tensor_optix.backends.flax_ops import OPS

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
        """``transformation`` over all parameters of ``networks``."""
        indices = {name: _nested(keys) for name, keys in modules.trained(networks).items()}
        return cls(optax.with_extra_args_support(transformation), frozenset(networks), indices)

    def tree(self, values: Values) -> Any:
        """Its parameters among ``values``."""
        return jax.tree.map(lambda index: values[index], self.indices)


class Progress(NamedTuple):
    """What the updates carry from one to the next, and a run from one epoch to the next."""

    values: Values
    moments: dict[str, Any]
    n_made: Any
    n_skipped: Any
    skipped_in_a_row: Any
    n_epochs: Any
    is_over: Any
    losses: Any     # [steps], of the last update that was skipped
    norms: Any      # [steps]


class Settings(NamedTuple):
    """Run-time numbers: another value compiles nothing anew."""

    rates: dict[str, Any]      # what each optimizer's updates are multiplied by
    max_grad_norm: Any
    stop_limit: Any


EpochCall = Callable[[Progress, dict[str, Any], Any, dict[str, Any], Settings], tuple[Progress, Any]]
"""(progress, data, rows [M, B], scalars by name [M], settings) -> (progress, what ``Epoch.report`` reads)."""

COUNTS = ("n_made", "n_skipped", "skipped_in_a_row", "n_epochs")


@dataclass
class Epoch:
    """takes_host_arrays: data comes as NumPy arrays, which a single call takes faster than JAX's own (several calls
    would copy them again and again). Always the same way: to JAX they are two programs.
    metrics: names of what is summed over the updates of an epoch, "count" among them; known once it has run.
    """

    call: EpochCall
    takes_host_arrays: bool
    metrics: tuple[str, ...] = ()

    def report(self, numbers: Any) -> tuple[dict[str, int], dict[str, float]]:
        """COUNTS and the sums. All numbers come to the host as one array: each array costs as much as a small step."""
        counts, sums = numbers[: len(COUNTS)], numbers[len(COUNTS) :]
        return (
            {name: int(count) for name, count in zip(COUNTS, counts, strict=True)},
            {name: float(total) for name, total in zip(self.metrics, sums, strict=True)},
        )


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
        def goes_on(carry: tuple[Any, Progress, Any]) -> Any:
            number, progress, _ = carry
            return (number < rows.shape[0]) & ~progress.is_over

        def body(carry: tuple[Any, Progress, Any]) -> tuple[Any, Progress, Any]:
            number, progress, sums = carry
            batch = {name: jnp.take(column, rows[number], axis=0, mode="clip") for name, column in data.items()}
            at = {name: column[number] for name, column in scalars.items()}
            progress, metrics = attempt(progress, batch, at, settings)
            return number + 1, progress, jax.tree.map(jnp.add, sums, metrics)

        first = ({name: column[0] for name, column in scalars.items()}, settings)
        batch = {name: jnp.take(column, rows[0], axis=0, mode="clip") for name, column in data.items()}
        shapes = jax.eval_shape(attempt, before, batch, *first)[1]
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        _, after, sums = jax.lax.while_loop(goes_on, body, (jnp.int32(0), before, zeros))
        is_over = after.is_over
        if stop_metric is not None:
            is_over |= sums[stop_metric] > settings.stop_limit * sums["count"]
        after = after._replace(n_epochs=before.n_epochs + ~before.is_over, is_over=is_over)
        made.metrics = tuple(sorted(sums))  # at every tracing the same
        counts = [after.n_made, after.n_skipped, after.skipped_in_a_row, after.n_epochs]
        numbers = [*counts, *(sums[name] for name in made.metrics)]
        return after, jnp.stack([jnp.asarray(number, jnp.float32) for number in numbers])

    made = Epoch(jax.jit(epoch), takes_host_arrays)
    return made


class _Attempt:
    """One minibatch update, made as a whole or not at all."""

    def __init__(
        self, update: Update, structure: Structure, modules: Modules, optimizers: Mapping[str, Optimized]
    ) -> None:
        self._update, self._structure, self._modules, self._optimizers = update, structure, modules, optimizers

    def __call__(
        self, before: Progress, batch: dict[str, Any], scalars: dict[str, Any], settings: Settings
    ) -> tuple[Progress, dict[str, Any]]:
        values, metrics = before.values, dict[str, Any]()
        gradients, each_loss = [], []
        for step in self._update.steps:
            optimized = self._optimizers[step.optimizer]
            loss, found, gradient, values = loss_and_gradient(step, self._structure, optimized, values, batch, scalars)
            each_loss.append(loss)
            metrics |= found
            gradients.append(gradient)
        each_norm = [_global_norm(gradient) for gradient in gradients]
        moments = dict(before.moments)
        for step, loss, gradient, norm in zip(self._update.steps, each_loss, gradients, each_norm, strict=True):
            gradient = _clipped(gradient, norm, settings.max_grad_norm)
            values, moments[step.optimizer] = self._stepped(step, values, before, gradient, loss, settings)
        values = self._moved_targets(values, scalars)
        losses, norms = jnp.stack(each_loss), jnp.stack(each_norm)
        is_finite = jnp.isfinite(losses).all() & jnp.isfinite(norms).all()
        metrics |= dict(zip(_norm_names(self._update), each_norm, strict=True))
        made = {**{name: jnp.where(is_finite, value, 0.0) for name, value in metrics.items()},
                "count": jnp.float32(is_finite)}  # fmt: skip
        return self._outcome(before, values, moments, is_finite, losses, norms), made

    def _stepped(
        self, step: Step, values: Values, before: Progress, gradient: Any, loss: Any, settings: Settings
    ) -> tuple[Values, Any]:
        optimized = self._optimizers[step.optimizer]
        changes, moments = optimized.transformation.update(
            gradient, before.moments[step.optimizer], optimized.tree(before.values), value=loss
        )
        rate = settings.rates[step.optimizer]
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
        self, before: Progress, values: Values, moments: dict[str, Any], is_finite: Any, losses: Any, norms: Any
    ) -> Progress:
        def chosen(new: Any, old: Any) -> Any:
            return jnp.where(is_finite, new, old).astype(old.dtype)

        random = set(self._modules.random)  # random numbers that a skipped update drew are drawn
        in_a_row = jnp.where(is_finite, 0, before.skipped_in_a_row + 1)
        return Progress(
            values=[new if n in random else chosen(new, old)
                    for n, (new, old) in enumerate(zip(values, before.values, strict=True))],
            moments=jax.tree.map(chosen, moments, before.moments),
            n_made=before.n_made + is_finite, n_skipped=before.n_skipped + ~is_finite,
            skipped_in_a_row=in_a_row, n_epochs=before.n_epochs, is_over=in_a_row >= MAX_SKIPPED_IN_A_ROW,
            losses=jnp.where(is_finite, before.losses, losses), norms=jnp.where(is_finite, before.norms, norms),
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


def _global_norm(gradient: Any) -> Any:
    return jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(gradient)))


def _clipped(gradient: Any, norm: Any, max_norm: Any) -> Any:
    factor = jnp.where(norm > max_norm, max_norm / (norm + 1e-6), 1.0)
    return jax.tree.map(lambda g: g * factor, gradient)


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
