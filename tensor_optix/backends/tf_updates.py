"""How does one minibatch update come about inside a graph: whole, or not at all?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tensor_optix.backends.base import Batch, Scalars, Step, Update
from tensor_optix.backends.tf_import import tf
from tensor_optix.backends.tf_layers import Network, Variable, buffers, named_weights, trained_variables
from tensor_optix.backends.tf_ops import OPS
from tensor_optix.errors import ConfigError

Tensor = Any


class UpdateGraph:
    """One update as TensorFlow operations: gradients of all steps at the same weights, then optimizers, then targets.

    Where a loss or a gradient is not finite, weights, targets, moments and buffers stay as they are, bit by bit.
    Networks compute in training mode; target networks in inference mode.
    """

    def __init__(self, networks: Mapping[str, Network], optimizers: Mapping[str, Any], update: Update) -> None:
        self._networks, self._optimizers, self._update = networks, optimizers, update
        self._calls = {
            name: partial(network, training=name not in update.targets) for name, network in networks.items()
        }
        self._buffers = _unique(v for network in networks.values() for v in buffers(network))

    @property
    def norm_names(self) -> list[str]:
        """What each step's gradient norm is called among the metrics."""
        steps = self._update.steps
        return ["grad_norm"] if len(steps) == 1 else [f"{step.optimizer}_grad_norm" for step in steps]

    def attempt(
        self, batch: Batch, scalars: Scalars, max_grad_norm: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        """Returns whether the update was made (bool), its metrics, and the sums of losses and of gradient norms."""
        before = [tf.identity(variable.value) for variable in self._buffers]
        losses: list[Tensor] = []
        norms: list[Tensor] = []
        work = []
        metrics: dict[str, Tensor] = {}
        for step, norm_name in zip(self._update.steps, self.norm_names, strict=True):
            loss, found, pairs, norm = self._differentiated(step, batch, scalars)
            metrics |= {**found, norm_name: norm}
            losses, norms = [*losses, loss], [*norms, norm]
            work.append((self._optimizers[step.optimizer], pairs, norm))
        loss, norm = tf.add_n(losses), tf.add_n(norms)
        is_finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)

        def apply() -> Tensor:
            for optimizer, pairs, step_norm in work:
                _apply(optimizer, pairs, _shrink(step_norm, max_grad_norm))
            self._move_targets(scalars)
            return tf.constant(True)

        def skip() -> Tensor:
            for variable, value in zip(self._buffers, before, strict=True):
                variable.assign(value)
            return tf.constant(False)

        return tf.cond(is_finite, apply, skip), metrics, loss, norm

    def _differentiated(
        self, step: Step, batch: Batch, scalars: Scalars
    ) -> tuple[Tensor, dict[str, Tensor], list[tuple[Tensor, Variable]], Tensor]:
        """Loss, metrics, (gradient, weight) pairs and the gradient's global norm; nothing else is recorded."""
        weights = trained_by(step, self._networks)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([weight.value for weight in weights])
            loss, metrics = penalised_loss(step, self._calls, self._networks, batch, scalars)
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        pairs = [(tf.convert_to_tensor(g), w) for g, w in zip(gradients, weights, strict=True) if g is not None]
        if not pairs:
            raise ConfigError(
                f"the loss of {step.optimizer!r} does not depend on any weight of {', '.join(step.trains)}: it "
                "must be computed from their outputs by TensorFlow operations"
            )
        return loss, metrics, pairs, tf.linalg.global_norm([gradient for gradient, _ in pairs])

    def _move_targets(self, scalars: Scalars) -> None:
        """θ_target ← τ θ_source + (1 - τ) θ_target; exactly nothing for τ = 0, exactly a copy for τ = 1."""
        for target_name, source_name in self._update.targets.items():
            targets = named_weights(self._networks[target_name]).values()
            sources = named_weights(self._networks[source_name]).values()
            for target, source in zip(targets, sources, strict=True):
                old, new, tau = target.value, source.value, scalars["tau"]
                if target.dtype.startswith("float"):
                    mixed = tau * new + (1 - tau) * old
                else:
                    mixed = tf.convert_to_tensor(old)
                target.assign(tf.where(tau >= 1, new, tf.where(tau <= 0, old, mixed)))


def penalised_loss(
    step: Step, calls: Mapping[str, Any], networks: Mapping[str, Network], batch: Batch, scalars: Scalars
) -> tuple[Tensor, dict[str, Tensor]]:
    """The step's loss, and what regularisers in the layers that it trains add to it (Keras would add them in fit)."""
    loss, metrics = step.loss(OPS, calls, batch, scalars)
    penalties = [penalty for name in step.trains for penalty in networks[name].losses]
    return (tf.add_n([loss, *penalties]) if penalties else loss), metrics


def trained_by(step: Step, networks: Mapping[str, Network]) -> list[Variable]:
    """Each weight once, though networks may share a trunk."""
    return _unique(v for name in step.trains for v in trained_variables(networks[name]))


def _apply(optimizer: Any, pairs: Sequence[tuple[Tensor, Variable]], factor: Tensor) -> None:
    optimizer.apply([gradient * factor for gradient, _ in pairs], [weight for _, weight in pairs])


def _shrink(norm: Tensor, max_norm: Tensor) -> Tensor:
    return tf.minimum(tf.ones((), norm.dtype), max_norm / (norm + 1e-6))


def _unique(variables: Any) -> list[Variable]:
    return list({id(variable): variable for variable in variables}.values())
