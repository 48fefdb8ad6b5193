from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import ConfigError
from tensor_optix.pipeline.episode_film import EpisodeFilm


class Counting(gym.Env[np.ndarray, int]):
    """Shows its step as grey; ends after ``length`` steps. ``start`` 2 asks for actions from 2 on."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Discrete(3, start=2)

    def __init__(self, length: int = 5, picture: Any = None) -> None:
        self.length, self.picture, self.steps, self.is_closed = length, picture, 0, False
        self.actions: list[int] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.seeded, self.steps = seed, 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.actions.append(action)
        return np.zeros(1, np.float32), 0.0, self.steps == self.length, False, {}

    def render(self) -> Any:
        return np.full((4, 4, 3), self.steps, np.uint8) if self.picture is None else self.picture

    def close(self) -> None:
        self.is_closed = True


class Zero(BaseAgent):
    """Acts 0 and knows how it was asked."""

    def act_batch(self, observations: np.ndarray, *, rng: Any, deterministic: bool = False) -> Any:
        self.was_deterministic = deterministic
        return np.zeros(len(observations), int), {}

    def act(self, observation: Any) -> int:
        return 0

    def learn(self, episode_data: Any) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> Any: ...
    def set_hyperparams(self, hyperparams: Any) -> None: ...
    def save_weights(self, path: str) -> None: ...
    def load_weights(self, path: str) -> None: ...


def test_a_whole_episode_is_filmed_with_the_best_guess_and_the_environment_closed():
    env, agent = Counting(), Zero()
    frames = EpisodeFilm(lambda: env, seed=9)(agent)
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert env.actions == [2] * 5
    assert (env.seeded, env.is_closed, agent.was_deterministic) == (9, True, True)


def test_a_long_episode_is_cut():
    assert len(EpisodeFilm(lambda: Counting(1000), max_frames=7)(Zero())) == 7


def test_an_environment_that_renders_no_pictures_is_refused_and_closed():
    env = Counting(picture="ascii")
    with pytest.raises(ConfigError, match="renders str, not pictures"):
        EpisodeFilm(lambda: env)(Zero())
    assert env.is_closed


def test_an_unknown_id_is_refused_at_once():
    with pytest.raises(ConfigError, match="CartPole"):
        EpisodeFilm("CartPol-v1")


def test_a_film_may_skip_steps_and_shows_the_end():
    assert len(EpisodeFilm(lambda: Counting(10), every=3)(Zero())) == 1 + 3 + 1
