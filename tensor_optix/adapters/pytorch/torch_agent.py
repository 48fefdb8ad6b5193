"""Any PyTorch model that maps observations to logits, as an agent: REINFORCE, or A2C where values are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensor_optix._lazy import missing

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise missing("torch") from error

from tensor_optix.algorithms.a2c import A2CAgent
from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.backends.base import Batch, Loss, Networks, Ops, Scalars, Tensor
from tensor_optix.backends.torch_backend import TorchLearner
from tensor_optix.backends.torch_modules import chosen_device, move_networks
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ConfigError

LossFn = Callable[[nn.Module, EpisodeData, torch.Tensor], torch.Tensor]
"""(model, episode_data, targets [T]) -> the scalar to minimise."""


class TorchAgent(A2CAgent):
    """``model`` maps observations [N, ...] to logits [N, A]; one step of ``optimizer`` a window.

    compute_loss_fn: a loss of your own; its targets are the scaled advantages. device: "auto" (CUDA where there is
    one), "cpu", "cuda", ...: the model is moved there.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        hyperparams: HyperparamSet | dict[str, Any],
        compute_loss_fn: LossFn | None = None,
        device: str = "auto",
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        self.device = chosen_device(device)
        self.model, self.optimizer = model, optimizer
        move_networks({"model": model}, self.device)
        super().__init__(
            TorchLearner({"model": model}, {"optimizer": optimizer}, self.device), hyperparams,
            loss_of_window=None if compute_loss_fn is None else lambda window: _own_loss(compute_loss_fn, window),
            obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer,
        )  # fmt: skip


def _own_loss(compute: LossFn, window: EpisodeData) -> Loss:
    def loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, dict[str, Tensor]]:
        model = networks["model"]
        assert isinstance(model, nn.Module)
        value = compute(model, window, batch["target"])
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            shown = f"one of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
            raise ConfigError(f"compute_loss_fn must return the loss, a tensor of one number, got {shown}")
        return value, {"loss": value}

    return loss
