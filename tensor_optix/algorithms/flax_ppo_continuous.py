"""PPO for continuous actions with flax.nnx networks."""

from __future__ import annotations

from typing import Any

from tensor_optix._lazy import missing

try:
    import optax
    from flax import nnx
except ModuleNotFoundError as error:
    raise missing("jax") from error

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.ppo_continuous import GaussianPPOAgent
from tensor_optix.backends.flax_backend import FlaxLearner, said_rate
from tensor_optix.backends.flax_modules import move_networks
from tensor_optix.core.types import HyperparamSet


class FlaxGaussianPPOAgent(GaussianPPOAgent):
    """PPO over ``actor`` (observation -> [mean ‖ log_std], ``2 * action_dim``) and ``critic`` (-> a value).

    optimizer: any optax transformation, for the parameters of both. device: "auto" leaves the modules where JAX put
    them; "cpu", "gpu", ... moves them there.
    """

    def __init__(
        self,
        actor: nnx.Module,
        critic: nnx.Module,
        optimizer: optax.GradientTransformation,
        action_dim: int,
        hyperparams: HyperparamSet | dict[str, Any],
        device: str = "auto",
        reward_normalizer: RewardStatistics | None = None,
        *,
        obs_normalizer: ObservationStatistics | None = None,
    ) -> None:
        self.actor = self._actor = actor
        self.critic = self._critic = critic
        networks = {"actor": actor, "critic": critic}
        move_networks(networks, device)
        learner = FlaxLearner(networks, {"optimizer": optimizer}, learning_rate=said_rate(hyperparams))
        super().__init__(
            learner, action_dim, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer
        )
