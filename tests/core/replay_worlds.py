"""Windows whose every transition carries a label, and a plain list of transitions to compare replays with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from tensor_optix.core.types import EpisodeData


@dataclass
class Transition:
    """One step of one environment; ``following`` is the next one of the same env episode, once there is one."""

    observation: tuple[int, int, int]
    reward: float
    terminated: bool
    successor: tuple[int, int, int]
    following: Transition | None = None


class LabelledEnvs:
    """N environments; observations are (env, episode, step), so that nothing can be mixed up unseen."""

    def __init__(self, n_envs: int, rng: np.random.Generator, *, end_rate: float = 0.3) -> None:
        self.rng, self.end_rate = rng, end_rate
        self.episodes = [0] * n_envs
        self.steps = [0] * n_envs

    def break_off(self) -> None:
        """Every env episode is lost in the middle: the next window starts from resets."""
        for env in range(len(self.steps)):
            self._reset(env)

    def window(self, n_steps: int) -> tuple[EpisodeData, list[Transition]]:
        rows: list[Transition] = []
        truncated: list[bool] = []
        finals: dict[int, np.ndarray] = {}
        segments = []
        for env in range(len(self.steps)):
            for step in range(n_steps):
                row = self._step(env)
                is_truncated = bool(self.rng.random() < self.end_rate / 2)
                rows.append(row)
                truncated.append(is_truncated)
                is_done = row.terminated or is_truncated
                if is_done or step == n_steps - 1:
                    finals[len(rows) - 1] = np.array(row.successor)
                if is_done:
                    self._reset(env)
            segments.append((len(rows) - n_steps, len(rows)))
        observations = np.array([row.observation for row in rows])
        data = EpisodeData(
            observations, observations.sum(axis=1), [row.reward for row in rows], [row.terminated for row in rows],
            truncated, [{}] * len(rows), 0, segments=segments, final_observations=finals,
        )  # fmt: skip
        return data, rows

    def _step(self, env: int) -> Transition:
        label = (env, self.episodes[env], self.steps[env])
        self.steps[env] += 1
        successor = (env, self.episodes[env], self.steps[env])
        return Transition(label, float(self.rng.integers(-9, 9)), bool(self.rng.random() < self.end_rate), successor)

    def _reset(self, env: int) -> None:
        self.episodes[env] += 1
        self.steps[env] = 0


class TransitionList:
    """The plainest replay there is."""

    def __init__(self, capacity: int) -> None:
        self.rows: deque[Transition] = deque(maxlen=capacity)

    def add(self, rows: list[Transition]) -> None:
        for row in rows:
            for earlier in self.rows:
                if earlier.successor == row.observation and not earlier.terminated:
                    earlier.following = row
            self.rows.append(row)

    def targets(self, n_step: int, gamma: float) -> dict[tuple[int, ...], tuple[float, tuple[int, ...], float, int]]:
        """observation -> (n-step reward, next observation, discount, steps used)."""
        return {row.observation: _target(row, n_step, gamma) for row in self.rows}


def _target(row: Transition, n_step: int, gamma: float) -> tuple[float, tuple[int, ...], float, int]:
    reward, used = row.reward, 1
    while used < n_step and row.following is not None:
        row = row.following
        reward += gamma**used * row.reward
        used += 1
    return reward, row.successor, 0.0 if row.terminated else gamma**used, used
