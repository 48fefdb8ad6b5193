"""DQN with a Keras network."""

from __future__ import annotations

from typing import Any

from tensor_optix.algorithms.agent_normalizers import ObservationStatistics, RewardStatistics
from tensor_optix.algorithms.dqn import DQNAgent
from tensor_optix.backends.tf_backend import Compilation, TargetCopy, TFLearner
from tensor_optix.backends.tf_import import keras
from tensor_optix.core.types import HyperparamSet


class TFDQNAgent(DQNAgent):
    """DQN over ``q_network`` (observation -> a value an action); its target is a copy made here.

    The network must have its weights (an Input layer, or one call on a batch). optimizer: yours, of any class.
    jit_compile: have XLA compile the updates, which takes a few seconds and makes them two to three times faster.
    device: "auto" leaves the network where TensorFlow put it; "cpu", "cuda", ... moves it there.
    """

    def __init__(
        self,
        q_network: keras.Model,
        n_actions: int,
        optimizer: keras.optimizers.Optimizer,
        hyperparams: HyperparamSet | dict[str, Any],
        *,
        obs_normalizer: ObservationStatistics | None = None,
        reward_normalizer: RewardStatistics | None = None,
        jit_compile: bool = True,
        device: str = "auto",
    ) -> None:
        self.q_network = self._q = q_network
        self._q_target = TargetCopy(q_network)
        learner = TFLearner(
            {"q": self._q, "q_target": self._q_target}, {"optimizer": optimizer}, trains={"optimizer": ("q",)},
            compilation=Compilation.of(jit_compile), device=device,
        )  # fmt: skip
        super().__init__(
            learner, n_actions, hyperparams, obs_normalizer=obs_normalizer, reward_normalizer=reward_normalizer
        )
