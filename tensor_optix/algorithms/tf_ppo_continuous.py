"""PPO for continuous actions with Keras networks."""

from __future__ import annotations

from typing import Any

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.ppo_continuous import GaussianPPOAgent
from tensor_optix.backends.tf_backend import Compilation, TFLearner
from tensor_optix.backends.tf_import import keras
from tensor_optix.core.types import HyperparamSet


class TFGaussianPPOAgent(GaussianPPOAgent):
    """PPO over ``actor`` (observation -> [mean ‖ log_std], ``2 * action_dim``) and ``critic`` (-> a value).

    optimizer: yours, of any class. jit_compile: have XLA compile the updates, which takes a few seconds and makes them
    two to three times faster. device: "auto" leaves the models where TensorFlow put them; "cpu", "cuda", ... moves
    them there.
    """

    def __init__(
        self,
        actor: keras.Model,
        critic: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        action_dim: int,
        hyperparams: HyperparamSet | dict[str, Any],
        reward_normalizer: RewardStatistics | None = None,
        *,
        obs_normalizer: ObservationStatistics | None = None,
        jit_compile: bool = True,
        device: str = "auto",
    ) -> None:
        self.actor = self._actor = actor
        self.critic = self._critic = critic
        networks = {"actor": actor, "critic": critic}
        learner = TFLearner(
            networks, {"optimizer": optimizer}, trains={"optimizer": tuple(networks)},
            compilation=Compilation.of(jit_compile), device=device,
        )  # fmt: skip
        super().__init__(
            learner, action_dim, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer
        )
