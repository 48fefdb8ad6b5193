"""What do an environment's spaces ask of an agent?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from tensor_optix.errors import ConfigError
from tensor_optix.pipeline.observations import is_array_space, observed


class HasSpaces(Protocol):
    """An environment, or a pipeline over one."""

    @property
    def observation_space(self) -> gym.Space[Any]: ...
    @property
    def action_space(self) -> gym.Space[Any]: ...


@dataclass(frozen=True)
class Task:
    """observation_shape: of one observation, as networks get it. n_actions: choices, or numbers of one action."""

    observation_shape: tuple[int, ...]
    is_image: bool
    is_discrete: bool
    n_actions: int

    @classmethod
    def of(cls, env: HasSpaces) -> Task:
        """Raises ConfigError for spaces that no built-in network or agent handles, with the remedy."""
        _refuse_what_has_none(env)
        observations, actions = observation_space_of(env), env.action_space
        is_image = is_image_space(observations)
        if not is_image and not (isinstance(observations, Box) and len(observations.shape) == 1):
            raise ConfigError(
                f"built-in networks take flat vectors or images of bytes, this environment has {observations}: "
                "flatten it (gymnasium.wrappers.FlattenObservation)"
            )
        is_discrete = isinstance(actions, Discrete)
        n_actions = int(actions.n) if isinstance(actions, Discrete) else _action_dim(actions)
        return cls(tuple(observations.shape or ()), is_image, is_discrete, n_actions)


def _refuse_what_has_none(env: Any) -> None:
    if isinstance(env, str):
        raise ConfigError(f"env must be an environment or a pipeline, got an id: give gymnasium.make({env!r})")
    if isinstance(env, gym.vector.VectorEnv):
        raise ConfigError(
            f"env must be one environment or a pipeline, got {type(env).__name__}, whose spaces are those of several: "
            "give VectorBatchPipeline(env) of it"
        )


def is_image_space(space: gym.Space[Any]) -> bool:
    """Bytes on two axes, or on two and a few channels."""
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)


def flattening_for(space: gym.Space[Any]) -> str:
    """How a pipeline has to hand observations of ``space`` on, for built-in networks: "auto" or "flatten"."""
    is_ready = is_image_space(space) or (isinstance(space, Box) and len(space.shape) == 1)
    return "auto" if is_ready or not is_array_space(space) else "flatten"


def observation_space_of(env: HasSpaces) -> gym.Space[Any]:
    """As the agent sees it: pipelines make one flat vector of Dict and Tuple observations."""
    return observed(env, "auto").observation_space if isinstance(env, gym.Env) else env.observation_space


def _action_dim(actions: gym.Space[Any]) -> int:
    is_vector = isinstance(actions, Box) and len(actions.shape) == 1 and np.issubdtype(actions.dtype, np.floating)
    if not is_vector:
        raise ConfigError(
            f"built-in agents act in Discrete spaces or in flat Box spaces of floats, this environment has {actions}: "
            "wrap it, or bring an agent of your own"
        )
    return int(actions.shape[0])  # type: ignore[index]
