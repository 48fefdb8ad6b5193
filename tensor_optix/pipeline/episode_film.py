"""EpisodeFilm: what one evaluation episode looks like, as pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import ConfigError
from tensor_optix.pipeline.actions import action_converter
from tensor_optix.pipeline.environments import require_registered


class EpisodeFilm:
    """Called with an agent, it plays one deterministic env episode on an environment of its own and films it.

    env: an id, or a factory of environments that render to arrays (``render_mode="rgb_array"``). seed: of the episode,
    the same each time, so that films of several policies can be compared. max_frames: a longer episode is cut there.
    every: env steps from one frame to the next.
    The agent acts by a stream of the film's: a run is not disturbed.
    """

    def __init__(
        self, env: str | Callable[[], Any], *, seed: int = 0, max_frames: int = 500, every: int = 1
    ) -> None:
        for name, value in (("max_frames", max_frames), ("every", every)):
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if isinstance(env, str):
            require_registered(env)
        self._env = env
        self._seed = seed
        self._max_frames = max_frames
        self._every = every

    def __call__(self, agent: BaseAgent) -> list[np.ndarray]:
        """Frames [H, W, 3] of bytes: after the reset, and after each step."""
        env = self._made()
        try:
            return self._frames(agent, env)
        finally:
            env.close()

    def _made(self) -> Any:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # nothing is shown: pygame needs no window system
        return gym.make(self._env, render_mode="rgb_array") if isinstance(self._env, str) else self._env()

    def _frames(self, agent: BaseAgent, env: Any) -> list[np.ndarray]:
        to_env_action = action_converter(env.action_space, in_unit_box=agent.acts_in_unit_box)
        rng = np.random.default_rng(self._seed)
        observation, _ = env.reset(seed=self._seed)
        frames, is_over, steps = [_picture(env)], False, 0
        while not is_over and len(frames) < self._max_frames:
            actions, _ = agent.act_batch(np.asarray(observation)[None], rng=rng, deterministic=True)
            observation, _, terminated, truncated, _ = env.step(to_env_action(actions[0]))
            is_over, steps = terminated or truncated, steps + 1
            if is_over or steps % self._every == 0:
                frames.append(_picture(env))
        return frames


def _picture(env: Any) -> np.ndarray:
    frame = env.render()
    if not isinstance(frame, np.ndarray) or frame.ndim != 3:
        raise ConfigError(f"the environment renders {type(frame).__name__}, not pictures: make it with rgb_array")
    return frame.astype(np.uint8, copy=False)
