"""What does a trained agent do with a raw observation? Normalisation, flattening and units are inside."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.frame_stack import FrameStack
from tensor_optix.core.rng import RandomStreams
from tensor_optix.pipeline.actions import action_converter
from tensor_optix.pipeline.environments import Env
from tensor_optix.quick.environments import watchable
from tensor_optix.quick.spaces import flattening_for


class Policy:
    """``policy(observation)`` is an action that the environment takes.

    observation: as the environment of that id gives it (of an Atari game: as ``Run.make_env`` gives it, which skips
    frames and scales pictures). With ``frame_stack`` the policy keeps the last ones itself: call ``reset()`` whenever
    the environment is reset.
    deterministic: the best guess; otherwise sampled, as in training.
    """

    def __init__(self, agent: BaseAgent, env: Env, frame_stack: int, *, seed: int = 0) -> None:
        base = watchable(env)
        self._agent, self._rng = agent, RandomStreams(seed).stream("policy")
        self._space = base.observation_space
        self._is_flattened = flattening_for(self._space) == "flatten" or not isinstance(self._space, gym.spaces.Box)
        self._frames = FrameStack(frame_stack)
        self._to_env = action_converter(base.action_space, in_unit_box=agent.acts_in_unit_box)

    def reset(self) -> None:
        """A new env episode begins."""
        self._frames.reset()

    def __call__(self, observation: Any, deterministic: bool = True) -> Any:
        """One action."""
        seen = self._seen(observation)
        actions, _ = self._agent.act_batch(seen[None], rng=self._rng, deterministic=deterministic)
        return self._to_env(actions[0])

    def _seen(self, observation: Any) -> np.ndarray:
        """As in training: flat, and joined with those before it."""
        one = gym.spaces.flatten(self._space, observation) if self._is_flattened else observation
        return self._frames(np.asarray(one))
