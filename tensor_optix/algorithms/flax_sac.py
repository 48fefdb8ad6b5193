"""SAC with flax.nnx networks."""

from __future__ import annotations

from typing import Any, ClassVar

from tensor_optix._lazy import missing

try:
    import optax
    from flax import nnx
except ModuleNotFoundError as error:
    raise missing("jax") from error

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.distributions import LOG_STD_MAX, LOG_STD_MIN
from tensor_optix.algorithms.sac import SACAgent, initial_log_alpha
from tensor_optix.backends.flax_backend import FlaxLearner, said_rate
from tensor_optix.backends.flax_modules import ScalarParameter, move_networks, target_of
from tensor_optix.core.types import HyperparamSet


class FlaxSACAgent(SACAgent):
    """SAC over ``actor`` (observation -> [mean ‖ log_std], ``2 * action_dim``) and two critics
    ([observation ‖ action] -> a value); their targets are copies made here.

    actor_optimizer, critic_optimizer, alpha_optimizer: any optax transformations, for the actor, for both critics and
    for the temperature's logarithm. device: "auto" leaves the networks where JAX put them; "cpu", "gpu", ... moves
    them there.
    """

    LOG_STD_MIN: ClassVar[float] = LOG_STD_MIN
    LOG_STD_MAX: ClassVar[float] = LOG_STD_MAX

    def __init__(
        self,
        actor: nnx.Module,
        critic1: nnx.Module,
        critic2: nnx.Module,
        action_dim: int,
        actor_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
        alpha_optimizer: optax.GradientTransformation,
        hyperparams: HyperparamSet | dict[str, Any],
        device: str = "auto",
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        self.log_alpha = ScalarParameter(initial_log_alpha(hyperparams))
        trained = {"actor": actor, "critic1": critic1, "critic2": critic2, "log_alpha": self.log_alpha}
        move_networks(trained, device)
        self._actor, self._c1, self._c2 = actor, critic1, critic2
        self._c1_tgt, self._c2_tgt = target_of(critic1), target_of(critic2)
        optimizers = {
            "actor_optimizer": actor_optimizer,
            "critic_optimizer": critic_optimizer,
            "alpha_optimizer": alpha_optimizer,
        }
        trains = {
            "actor_optimizer": ("actor",),
            "critic_optimizer": ("critic1", "critic2"),
            "alpha_optimizer": ("log_alpha",),
        }
        networks = {**trained, "target1": self._c1_tgt, "target2": self._c2_tgt}
        learner = FlaxLearner(networks, optimizers, trains=trains, learning_rate=said_rate(hyperparams))
        super().__init__(
            learner, action_dim, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer
        )
