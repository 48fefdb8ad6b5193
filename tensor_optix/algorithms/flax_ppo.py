"""PPO for discrete actions with flax.nnx networks."""

from __future__ import annotations

from typing import Any

from tensor_optix._lazy import missing

try:
    import optax
    from flax import nnx
except ModuleNotFoundError as error:
    raise missing("jax") from error

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.ppo import PPOAgent
from tensor_optix.backends.flax_backend import FlaxLearner, said_rate
from tensor_optix.backends.flax_modules import move_networks
from tensor_optix.core.types import HyperparamSet


class FlaxPPOAgent(PPOAgent):
    """PPO over two modules: ``actor`` (observation -> a logit an action) and ``critic`` (observation -> a value).

    optimizer: any optax transformation; it steps the parameters of both (a trunk may be shared), which it sees as
    ``{"actor": ..., "critic": ...}``. ``hyperparams["learning_rate"]``, if given, wins over its own. device: "auto"
    leaves the modules where JAX put them; "cpu", "gpu", ... moves them there.

    Example::

        import optax
        from flax import nnx
        from tensor_optix.algorithms.flax_ppo import FlaxPPOAgent
        from tensor_optix.core.types import HyperparamSet

        rngs = nnx.Rngs(0)
        actor = nnx.Sequential(nnx.Linear(4, 64, rngs=rngs), nnx.tanh, nnx.Linear(64, 2, rngs=rngs))
        critic = nnx.Sequential(nnx.Linear(4, 64, rngs=rngs), nnx.tanh, nnx.Linear(64, 1, rngs=rngs))
        agent = FlaxPPOAgent(actor, critic, optax.adam(3e-4), HyperparamSet({"clip_ratio": 0.2, "n_epochs": 10}))
        action = agent.act([0.0, 0.1, 0.0, -0.1])
    """

    def __init__(
        self,
        actor: nnx.Module,
        critic: nnx.Module,
        optimizer: optax.GradientTransformation,
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
        super().__init__(learner, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer)
