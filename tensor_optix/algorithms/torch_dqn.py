"""DQN with a PyTorch network."""

from __future__ import annotations

from typing import Any

from tensor_optix._lazy import missing

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise missing("torch") from error

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.dqn import DQNAgent
from tensor_optix.backends.torch_backend import TorchLearner
from tensor_optix.backends.torch_modules import chosen_device, move_networks, target_of
from tensor_optix.core.types import HyperparamSet


class TorchDQNAgent(DQNAgent):
    """DQN over ``q_network`` (observation -> a value an action); its target is a copy made here.

    optimizer: yours, over the network's parameters. device: "auto" (CUDA where there is one), "cpu", "cuda", ...
    compile: as in ``TorchPPOAgent``.
    """

    def __init__(
        self,
        q_network: nn.Module,
        n_actions: int,
        optimizer: torch.optim.Optimizer,
        hyperparams: HyperparamSet | dict[str, Any],
        device: str = "auto",
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
        compile: bool = False,
    ) -> None:
        self.device = chosen_device(device)
        move_networks({"q": q_network}, self.device)
        self.q_network = self._q = q_network
        self._q_target = target_of(q_network)
        networks = {"q": self._q, "q_target": self._q_target}
        learner = TorchLearner(networks, {"optimizer": optimizer}, self.device, compile=compile)
        super().__init__(
            learner, n_actions, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer
        )
