"""PPO for continuous actions with PyTorch networks."""

from __future__ import annotations

from typing import Any

from tensor_optix._lazy import missing

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise missing("torch") from error

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.ppo_continuous import GaussianPPOAgent
from tensor_optix.backends.torch_backend import TorchLearner
from tensor_optix.backends.torch_modules import chosen_device, move_networks
from tensor_optix.core.types import HyperparamSet


class TorchGaussianPPOAgent(GaussianPPOAgent):
    """PPO over ``actor`` (observation -> [mean ‖ log_std], ``2 * action_dim``) and ``critic`` (-> a value).

    optimizer: yours, over the parameters of both. device: "auto" (CUDA where there is one), "cpu", "cuda", ...
    compile: as in ``TorchPPOAgent``.
    """

    def __init__(
        self,
        actor: nn.Module,
        critic: nn.Module,
        optimizer: torch.optim.Optimizer,
        action_dim: int,
        hyperparams: HyperparamSet | dict[str, Any],
        device: str = "auto",
        reward_normalizer: RewardStatistics | None = None,
        *,
        obs_normalizer: ObservationStatistics | None = None,
        compile: bool = False,
    ) -> None:
        self.device = chosen_device(device)
        self.actor = self._actor = actor
        self.critic = self._critic = critic
        networks = {"actor": actor, "critic": critic}
        move_networks(networks, self.device)
        learner = TorchLearner(networks, {"optimizer": optimizer}, self.device, compile=compile)
        super().__init__(
            learner, action_dim, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer
        )
