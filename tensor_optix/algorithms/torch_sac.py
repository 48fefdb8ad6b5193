"""SAC with PyTorch networks."""

from __future__ import annotations

from typing import Any, ClassVar

from tensor_optix._lazy import missing

try:
    import torch
    from torch import nn
except ModuleNotFoundError as error:
    raise missing("torch") from error

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.distributions import LOG_STD_MAX, LOG_STD_MIN
from tensor_optix.algorithms.sac import SACAgent, initial_log_alpha
from tensor_optix.backends.torch_backend import TorchLearner
from tensor_optix.backends.torch_modules import ScalarParameter, chosen_device, move_networks, target_of
from tensor_optix.backends.torch_steps import optimizer_over
from tensor_optix.core.types import HyperparamSet


class TorchSACAgent(SACAgent):
    """SAC over ``actor`` (observation -> [mean ‖ log_std], ``2 * action_dim``) and two critics
    ([observation ‖ action] -> a value); their targets are copies made here.

    actor_optimizer, critic_optimizer: yours, over the parameters of the actor and of both critics. alpha_optimizer:
    of any class and over any parameter; one like it (that very one where a scheduler steps it already) trains the
    temperature's logarithm. device: "auto" (CUDA where there is one), "cpu", "cuda", ... compile: as in
    ``TorchPPOAgent``.
    """

    LOG_STD_MIN: ClassVar[float] = LOG_STD_MIN
    LOG_STD_MAX: ClassVar[float] = LOG_STD_MAX

    def __init__(
        self,
        actor: nn.Module,
        critic1: nn.Module,
        critic2: nn.Module,
        action_dim: int,
        actor_optimizer: torch.optim.Optimizer,
        critic_optimizer: torch.optim.Optimizer,
        alpha_optimizer: torch.optim.Optimizer,
        hyperparams: HyperparamSet | dict[str, Any],
        device: str = "auto",
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
        compile: bool = False,
    ) -> None:
        self.device = chosen_device(device)
        given = {"actor": actor, "critic1": critic1, "critic2": critic2}
        move_networks(given, self.device)
        dtype = next(actor.parameters()).dtype
        self.log_alpha = ScalarParameter(initial_log_alpha(hyperparams)).to(self.device, dtype)
        trained = {**given, "log_alpha": self.log_alpha}
        self.actor = self._actor = actor
        self.critic1 = self._c1 = critic1
        self.critic2 = self._c2 = critic2
        self._c1_tgt, self._c2_tgt = target_of(critic1), target_of(critic2)
        optimizers = {
            "actor_optimizer": actor_optimizer,
            "critic_optimizer": critic_optimizer,
            "alpha_optimizer": optimizer_over(
                "alpha_optimizer", alpha_optimizer, [self.log_alpha.value],
                is_shared=alpha_optimizer in (actor_optimizer, critic_optimizer),
            ),
        }
        networks = {**trained, "target1": self._c1_tgt, "target2": self._c2_tgt}
        super().__init__(
            TorchLearner(networks, optimizers, self.device, compile=compile), action_dim, hyperparams,
            obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer,
        )  # fmt: skip
