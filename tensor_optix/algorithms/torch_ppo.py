"""PPO for discrete actions with PyTorch networks."""

from __future__ import annotations

from typing import Any

from tensor_optix._lazy import missing

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise missing("torch") from error

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.ppo import PPOAgent
from tensor_optix.backends.torch_backend import TorchLearner
from tensor_optix.backends.torch_modules import chosen_device, move_networks
from tensor_optix.core.types import HyperparamSet


class TorchPPOAgent(PPOAgent):
    """PPO over two modules: ``actor`` (observation -> a logit an action) and ``critic`` (observation -> a value).

    optimizer: yours, over the parameters of both (a trunk may be shared). ``hyperparams["learning_rate"]``, if given,
    wins over its own. device: "auto" (CUDA where there is one), "cpu", "cuda", ...; the modules are moved there.

    compile: have PyTorch compile the whole minibatch step, where the optimizer is a plain Adam or AdamW on the CPU:
    about ten seconds at first, then two to three times as fast. Without a C++ compiler, or with batch normalisation,
    updates are made as ever, said once.

    Example::

        import torch
        from torch import nn
        from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
        from tensor_optix.core.types import HyperparamSet

        actor = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
        critic = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))
        optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4)
        agent = TorchPPOAgent(actor, critic, optimizer, HyperparamSet({"clip_ratio": 0.2, "n_epochs": 10}))
        action = agent.act([0.0, 0.1, 0.0, -0.1])
    """

    def __init__(
        self,
        actor: nn.Module,
        critic: nn.Module,
        optimizer: torch.optim.Optimizer,
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
        super().__init__(learner, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer)
