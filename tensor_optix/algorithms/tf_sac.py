"""SAC with Keras networks."""

from __future__ import annotations

from typing import Any, ClassVar

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.distributions import LOG_STD_MAX, LOG_STD_MIN
from tensor_optix.algorithms.sac import SACAgent, initial_log_alpha
from tensor_optix.backends.tf_backend import Compilation, TargetCopy, TFLearner
from tensor_optix.backends.tf_import import keras
from tensor_optix.backends.tf_layers import ScalarParameter
from tensor_optix.core.types import HyperparamSet


class TFSACAgent(SACAgent):
    """SAC over ``actor`` (observation -> [mean ‖ log_std], ``2 * action_dim``) and two critics
    ([observation ‖ action] -> a value); their targets are copies made here.

    The critics must have their weights (an Input layer, or one call on a batch). actor_optimizer, critic_optimizer:
    yours, of any class. alpha_optimizer: of any class; a fresh one with its settings trains the temperature's
    logarithm. jit_compile: have XLA compile the updates, which takes a few seconds and makes them two to three times
    faster. device: "auto" leaves the models where TensorFlow put them; "cpu", "cuda", ... moves them there.
    """

    LOG_STD_MIN: ClassVar[float] = LOG_STD_MIN
    LOG_STD_MAX: ClassVar[float] = LOG_STD_MAX

    def __init__(
        self,
        actor: keras.Model,
        critic1: keras.Model,
        critic2: keras.Model,
        action_dim: int,
        actor_optimizer: keras.optimizers.Optimizer,
        critic_optimizer: keras.optimizers.Optimizer,
        alpha_optimizer: keras.optimizers.Optimizer,
        hyperparams: HyperparamSet | dict[str, Any],
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
        jit_compile: bool = True,
        device: str = "auto",
    ) -> None:
        self.log_alpha = ScalarParameter(initial_log_alpha(hyperparams), dtype=critic1.dtype)
        self._actor, self._c1, self._c2 = actor, critic1, critic2
        self._c1_tgt, self._c2_tgt = TargetCopy(critic1), TargetCopy(critic2)
        networks = {
            "actor": actor, "critic1": critic1, "critic2": critic2, "log_alpha": self.log_alpha,
            "target1": self._c1_tgt, "target2": self._c2_tgt,
        }  # fmt: skip
        optimizers = {
            "actor_optimizer": actor_optimizer,
            "critic_optimizer": critic_optimizer,
            "alpha_optimizer": type(alpha_optimizer).from_config(alpha_optimizer.get_config()),
        }
        trains = {
            "actor_optimizer": ("actor",),
            "critic_optimizer": ("critic1", "critic2"),
            "alpha_optimizer": ("log_alpha",),
        }
        learner = TFLearner(
            networks, optimizers, trains=trains, compilation=Compilation.of(jit_compile), device=device
        )
        super().__init__(
            learner, action_dim, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer
        )
