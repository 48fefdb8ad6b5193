"""How are environments built alike for training, evaluation, watching and export?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import DependencyNotInstalled
from gymnasium.spaces import Box
from gymnasium.wrappers import AtariPreprocessing, FlattenObservation, FrameStackObservation, TransformObservation

from tensor_optix._about import install_hint
from tensor_optix.core.frame_stack import joined
from tensor_optix.errors import MissingDependency
from tensor_optix.pipeline.environments import Env, make_env, require_registered
from tensor_optix.pipeline.observations import observed
from tensor_optix.quick.spaces import flattening_for

ATARI = "ALE/"


def env_factory(env_id: str, frame_stack: int = 1, **keywords: Any) -> Callable[[], Env]:
    """Builds ``env_id`` as built-in agents want it: Atari games preprocessed, observations flat vectors or images,
    the last ``frame_stack`` of them as one. keywords: for gymnasium.make.

    Raises ConfigError for an id that Gymnasium does not know.
    """
    require_registered(env_id)
    return partial(built, env_id, frame_stack, keywords)


def built(env_id: str, frame_stack: int, keywords: dict[str, Any]) -> Env:
    """One environment. Raises MissingDependency."""
    env = _atari(env_id, keywords) if env_id.startswith(ATARI) else _plain(env_id, keywords)
    env = observed(env, flattening_for(env.observation_space))
    return stacked(env, frame_stack)


def stacked(env: Env, n: int) -> Env:
    """``env`` with its last ``n`` observations as one vector, or as the channels of one image.

    After a reset the first observation fills the places of those before it.
    """
    if n == 1:
        return env
    one = env.observation_space
    assert isinstance(one, Box)
    low, high = (joined(np.stack([bound] * n)) for bound in (one.low, one.high))
    space = Box(low, high, dtype=one.dtype.type)
    return TransformObservation(FrameStackObservation(env, n, padding_type="reset"), joined, space)


def watchable(env: Env) -> Env:
    """``env`` below its frame stack and its flattening: what a person, or a policy on raw observations, has."""
    while isinstance(env, FrameStackObservation | TransformObservation | FlattenObservation):
        env = env.env
    return env


def _plain(env_id: str, keywords: dict[str, Any]) -> Env:
    if not keywords:
        return make_env(env_id)
    make_env(env_id).close()  # a missing library is told in our words
    return gym.make(env_id, **keywords)


def _atari(env_id: str, keywords: dict[str, Any]) -> Env:
    """The usual preprocessing (Machado et al. 2018): every fourth frame, of two the brighter, grey, 84 x 84."""
    env = gym.make(env_id, frameskip=1, **keywords)
    try:
        return AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84, grayscale_obs=True)
    except DependencyNotInstalled as error:
        raise MissingDependency(f"{env_id} needs a library for its images: {install_hint('atari')}") from error
