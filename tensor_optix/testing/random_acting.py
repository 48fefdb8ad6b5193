"""Which agent can act in any space? One that acts at random."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet


class RandomActing(BaseAgent):
    """Acts at random in any space, from the caller's stream; learns nothing."""

    def __init__(self, space: gym.Space[Any]) -> None:
        self._space = space

    @property
    def acts_in_unit_box(self) -> bool:
        return isinstance(self._space, Box) and self._space.is_bounded()

    def act(self, observation: Any) -> Any:
        return self.act_batch(observation[None], rng=np.random.default_rng(0))[0][0]

    def act_batch(
        self, observations: np.ndarray, *, rng: np.random.Generator, deterministic: bool = False
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        space, n = self._space, len(observations)
        draws = rng.random((n, *(space.shape or ()))) * (0 if deterministic else 1)
        if isinstance(space, Discrete):
            return (draws * int(space.n)).astype(np.int64), {}
        if isinstance(space, MultiDiscrete):
            return (draws * space.nvec).astype(np.int64), {}
        if isinstance(space, MultiBinary):
            return (draws * 2).astype(np.int64), {}
        return (draws * 2 - 1).astype(np.float32), {}

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        """There are none."""

    def save_weights(self, path: str) -> None:
        """There are none."""

    def load_weights(self, path: str) -> None:
        """There are none."""
