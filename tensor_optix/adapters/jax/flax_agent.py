"""Any flax.nnx model that maps observations to logits, as an agent: REINFORCE, or A2C where values are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensor_optix._lazy import missing

try:
    import jax
    import optax
    from flax import nnx
except ModuleNotFoundError as error:
    raise missing("jax") from error

from tensor_optix.algorithms.a2c import A2CAgent
from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.backends.base import Batch, Loss, Networks, Ops, Scalars, Tensor
from tensor_optix.backends.flax_backend import FlaxLearner, said_rate
from tensor_optix.backends.flax_modules import move_networks
from tensor_optix.core.types import EpisodeData, HyperparamSet

LossFn = Callable[[nnx.Module, EpisodeData, jax.Array], jax.Array]
"""(model, episode_data, targets [T]) -> the scalar to minimise, by operations of JAX."""


class FlaxAgent(A2CAgent):
    """``model`` maps observations [N, ...] to logits [N, A]; one step of ``optimizer`` a window.

    compute_loss_fn: a loss of your own; its targets are the scaled advantages. It is called with every window, as
    Python, so that it may do what it likes with the window, and with a copy of the model to differentiate. device:
    "auto" leaves the model where JAX put it; "cpu", "gpu", ... moves it there.
    """

    def __init__(
        self,
        model: nnx.Module,
        optimizer: optax.GradientTransformation,
        hyperparams: HyperparamSet | dict[str, Any],
        compute_loss_fn: LossFn | None = None,
        device: str = "auto",
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        move_networks({"model": model}, device)
        learner = FlaxLearner(
            {"model": model}, {"optimizer": optimizer}, learning_rate=said_rate(hyperparams),
            compiled=compute_loss_fn is None,
        )  # fmt: skip
        super().__init__(
            learner, hyperparams,
            loss_of_window=None if compute_loss_fn is None else lambda window: _own_loss(compute_loss_fn, window),
            obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer,
        )  # fmt: skip


def _own_loss(compute: LossFn, window: EpisodeData) -> Loss:
    def loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, dict[str, Tensor]]:
        model = networks["model"]
        assert isinstance(model, nnx.Module)
        value = compute(model, window, batch["target"])
        return value, {"loss": value}

    return loss
