"""Any Keras model that maps observations to logits, as an agent: REINFORCE, or A2C where values are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tensor_optix.algorithms.a2c import A2CAgent
from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.backends.base import Batch, Loss, Networks, Ops, Scalars, Tensor
from tensor_optix.backends.tf_backend import Compilation, TFLearner
from tensor_optix.backends.tf_import import keras
from tensor_optix.core.types import EpisodeData, HyperparamSet

LossFn = Callable[[Any, EpisodeData, Any], Any]
"""(model, episode_data, targets [T]) -> the scalar to minimise, by TensorFlow operations."""


class TFAgent(A2CAgent):
    """``model`` maps observations [N, ...] to logits [N, A]; one step of ``optimizer`` a window.

    compute_loss_fn: a loss of your own; its targets are the scaled advantages. It is called with every window, as
    Python, so that it may do what it likes with the window. device: "auto" leaves the model where TensorFlow put it;
    "cpu", "cuda", ... moves it there.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        hyperparams: HyperparamSet | dict[str, Any],
        compute_loss_fn: LossFn | None = None,
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
        device: str = "auto",
    ) -> None:
        self.model, self.optimizer = model, optimizer
        learner = TFLearner(
            {"model": model}, {"optimizer": optimizer}, trains={"optimizer": ("model",)},
            compilation=Compilation.GRAPH if compute_loss_fn is None else Compilation.NONE,
            device=device,
        )  # fmt: skip
        own = None if compute_loss_fn is None else partial(_own_loss, compute_loss_fn, model)
        super().__init__(
            learner, hyperparams, loss_of_window=own, obs_normalizer=obs_normalizer,
            reward_normalizer=reward_normalizer,
        )  # fmt: skip


def _own_loss(compute: LossFn, model: keras.Model, window: EpisodeData) -> Loss:
    def loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, dict[str, Tensor]]:
        value = compute(model, window, batch["target"])
        return value, {"loss": value}

    return loss
