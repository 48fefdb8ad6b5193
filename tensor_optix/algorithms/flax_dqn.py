"""DQN with a flax.nnx network."""

from __future__ import annotations

from typing import Any

from tensor_optix._lazy import missing

try:
    import optax
    from flax import nnx
except ModuleNotFoundError as error:
    raise missing("jax") from error

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.dqn import DQNAgent
from tensor_optix.backends.flax_backend import FlaxLearner, said_rate
from tensor_optix.backends.flax_modules import move_networks, target_of
from tensor_optix.core.types import HyperparamSet


class FlaxDQNAgent(DQNAgent):
    """DQN over ``q_network`` (observation -> a value an action); its target is a copy made here.

    optimizer: any optax transformation. device: "auto" leaves the network where JAX put it; "cpu", "gpu", ... moves
    it there.
    """

    def __init__(
        self,
        q_network: nnx.Module,
        n_actions: int,
        optimizer: optax.GradientTransformation,
        hyperparams: HyperparamSet | dict[str, Any],
        device: str = "auto",
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
    ) -> None:
        move_networks({"q": q_network}, device)
        self.q_network = self._q = q_network
        self._q_target = target_of(q_network)
        learner = FlaxLearner(
            {"q": self._q, "q_target": self._q_target}, {"optimizer": optimizer}, trains={"optimizer": ("q",)},
            learning_rate=said_rate(hyperparams),
        )  # fmt: skip
        super().__init__(
            learner, n_actions, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer
        )
