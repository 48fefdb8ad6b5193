"""How does one environment of a ready vector look like a single one?"""

from __future__ import annotations

import logging
from typing import Any

import gymnasium as gym
from gymnasium.error import Error
from gymnasium.vector import SyncVectorEnv, VectorEnv

from tensor_optix.pipeline.environments import Env, EnvSource, HandedOverEnv, StandIn

logger = logging.getLogger(__name__)

Vector = VectorEnv[Any, Any, Any]

VECTOR_KWARGS = ("num_envs", "vectorization_mode", "vector_kwargs", "max_episode_steps")
"""What gymnasium.make_vec records in a spec besides the environment's own arguments."""


class Slot(StandIn):
    """One environment of a vector: gives what the last call of the whole vector brought for it."""

    def __init__(self, vector: Vector, index: int, name: str) -> None:
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        self.index = index
        self.name = name
        self.max_episode_steps = vector.spec.max_episode_steps if vector.spec is not None else None
        self.first: tuple[Any, dict[str, Any]] | None = None
        self.result: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        first, self.first = self.first, None
        return first

    def step(self, action: Any) -> Any:
        return self.result


class Slots(EnvSource):
    """One slot; the vector belongs to the caller."""

    is_rebuildable = False

    def __init__(self, slot: Slot, vector: Vector, observations: str) -> None:
        super().__init__(observations)
        self._slot, self._vector = slot, vector
        self.observed(slot)  # what cannot be read is refused at once

    @property
    def handed_over(self) -> Vector:
        return self._vector

    def training_env(self) -> Env:
        return self._slot

    def separate_env(self) -> Env | None:
        """One like those of the vector, where that has not been changed by wrappers of its own."""
        vector = self._vector
        if isinstance(vector, SyncVectorEnv):
            return HandedOverEnv(vector.envs[0], "raw").separate_env()
        if vector is not vector.unwrapped or vector.spec is None or "wrappers" in vector.spec.kwargs:
            return None
        try:
            env = gym.make(vector.spec.id, **_kwargs_for_one(vector.spec.kwargs))
        except (Error, ValueError, TypeError, AttributeError, ImportError) as error:
            logger.info("%s cannot be had as a single environment: %s", self._slot.name, error)
            return None
        if (env.observation_space, env.action_space) == (self._slot.observation_space, self._slot.action_space):
            return env
        env.close()
        return None


def info_of(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """What the infos of a vector say about one environment: the entries whose mask has it, in nested dicts too."""
    found = {}
    for name, values in infos.items():
        mask = infos.get(f"_{name}")
        if mask is None or not mask[index]:
            continue
        found[name] = info_of(values, index) if isinstance(values, dict) else values[index]
    return found


def _kwargs_for_one(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Without what only a vector of environments takes."""
    return {name: value for name, value in kwargs.items() if name not in VECTOR_KWARGS}
