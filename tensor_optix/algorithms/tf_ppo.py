"""PPO for discrete actions with Keras networks."""

from __future__ import annotations

from typing import Any

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.ppo import PPOAgent
from tensor_optix.backends.tf_backend import Compilation, TFLearner
from tensor_optix.backends.tf_import import keras
from tensor_optix.core.types import HyperparamSet


class TFPPOAgent(PPOAgent):
    """PPO over two models: ``actor`` (observation -> a logit an action) and ``critic`` (observation -> a value).

    optimizer: yours, of any class (a trunk may be shared). ``hyperparams["learning_rate"]``, if given, wins over its
    own; a schedule of yours wins over both. jit_compile: have XLA compile the updates, which takes a few seconds
    and makes them two to three times faster. device: "auto" leaves the models where TensorFlow put them; "cpu",
    "cuda", ... moves them there.

    Example::

        import keras
        from tensor_optix.algorithms.tf_ppo import TFPPOAgent
        from tensor_optix.core.types import HyperparamSet

        def network(n_outputs):
            return keras.Sequential([
                keras.layers.Input((4,)), keras.layers.Dense(64, "tanh"), keras.layers.Dense(n_outputs),
            ])

        hyperparams = HyperparamSet({"clip_ratio": 0.2, "n_epochs": 10})
        agent = TFPPOAgent(network(2), network(1), keras.optimizers.Adam(3e-4), hyperparams)
        action = agent.act([0.0, 0.1, 0.0, -0.1])
    """

    def __init__(
        self,
        actor: keras.Model,
        critic: keras.Model,
        optimizer: keras.optimizers.Optimizer,
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
        super().__init__(learner, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer)
