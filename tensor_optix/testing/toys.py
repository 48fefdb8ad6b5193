"""Which environments have a value function that can be written down? These, each with its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

Reset = tuple[np.ndarray, dict[str, Any]]
Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class _CountingEnv(gym.Env[np.ndarray, Any]):
    """Observes the number of steps since the reset; every reward is 1 and nothing ends, unless a toy says so."""

    def __init__(self) -> None:
        self.observation_space = Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space: gym.Space[Any] = Discrete(2)
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action: Any) -> Step:
        self.steps += 1
        return self._observation(), 1.0, False, False, {}

    def _observation(self) -> np.ndarray:
        return np.array([self.steps], dtype=np.float32)


class ConstantRewardChain(_CountingEnv):
    """Reward 1 a step; terminates after ``length`` steps, truncates after ``truncate_after`` where that is sooner.

    With k = length - s steps to go: V(s) = (1 - γ^k) / (1 - γ), truncation or not.
    """

    def __init__(self, length: int, truncate_after: int | None = None) -> None:
        super().__init__()
        self.length, self.truncate_after = length, truncate_after

    def step(self, action: Any) -> Step:
        observation, reward, _, _, info = super().step(action)
        return observation, reward, self.steps >= self.length, self.steps == self.truncate_after, info

    def value(self, observations: np.ndarray, gamma: float) -> np.ndarray:
        """V of observations [..., 1], shape [...]."""
        to_go = np.maximum(self.length - np.asarray(observations, dtype=float)[..., 0], 0)
        return np.asarray((1 - gamma**to_go) / (1 - gamma))


class TruncatedWalk(_CountingEnv):
    """Reward 1 a step for ever, seen in pieces of ``limit`` steps: never terminates, only truncates.

    V(s) = 1 / (1 - γ) everywhere, which only a bootstrap from the final observations gives.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def step(self, action: Any) -> Step:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.steps >= self.limit, info

    def value(self, observations: np.ndarray, gamma: float) -> np.ndarray:
        """V of observations [..., 1], shape [...]."""
        return np.full(np.shape(observations)[:-1], 1 / (1 - gamma))


class TerminatingCorridor(gym.Env[np.ndarray, Any]):
    """Start at 0; action 1 steps right, action 0 left (0 is a wall); reward 1 on reaching ``length``, which ends it.

    Always going right: V(s) = γ^(length - s - 1) for s < length, and that is the optimum.
    """

    def __init__(self, length: int) -> None:
        self.observation_space = Box(0, length, (1,), np.float32)
        self.action_space = Discrete(2)
        self.length, self.position = length, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self.position = 0
        return self._observation(), {}

    def step(self, action: Any) -> Step:
        self.position = max(self.position + (1 if action == 1 else -1), 0)
        has_arrived = self.position >= self.length
        return self._observation(), float(has_arrived), has_arrived, False, {}

    def _observation(self) -> np.ndarray:
        return np.array([self.position], dtype=np.float32)


class OneStepBandit(gym.Env[np.ndarray, Any]):
    """One of ``n`` contexts, one-hot; reward 1 for the action of the same number; every episode has one step.

    The optimal value is 1 in every context, that of acting at random 1/n.
    """

    def __init__(self, n: int = 3) -> None:
        self.observation_space = Box(0, 1, (n,), np.float32)
        self.action_space = Discrete(n)
        self.n, self.context = n, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self.context = int(self.np_random.integers(self.n))
        return self._observation(), {}

    def step(self, action: Any) -> Step:
        return self._observation(), float(action == self.context), True, False, {}

    def _observation(self) -> np.ndarray:
        return np.asarray(np.arange(self.n) == self.context, dtype=np.float32)


class LabelledEnv(gym.Env[np.ndarray, Any]):
    """Observes [label, number of the env episode, steps since its reset]: every row says where it is from.

    Reward ``label`` a step; env episode k terminates after ``lengths[k % len(lengths)]`` steps, or truncates after
    ``truncate_after`` where that is sooner. With n = lengths[...] - s steps to go:
    V(s) = label (1 - γ^n) / (1 - γ), truncation or not.
    """

    def __init__(self, label: int, lengths: Sequence[int], truncate_after: int | None = None) -> None:
        self.observation_space = Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space: gym.Space[Any] = Discrete(2)
        self.label, self.lengths, self.truncate_after = label, tuple(lengths), truncate_after
        self.episode, self.steps = -1, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action: Any) -> Step:
        self.steps += 1
        is_over = self.steps >= self.lengths[self.episode % len(self.lengths)]
        is_cut = self.steps == self.truncate_after and not is_over
        return self._observation(), float(self.label), is_over, is_cut, {"label": self.label}

    def value(self, observations: np.ndarray, gamma: float) -> np.ndarray:
        """V of observations [..., 3], shape [...]."""
        seen = np.asarray(observations)
        lengths = np.asarray(self.lengths)[seen[..., 1].astype(int) % len(self.lengths)]
        to_go = np.maximum(lengths - seen[..., 2], 0)
        return np.asarray(seen[..., 0] * (1 - gamma**to_go) / (1 - gamma))

    def _observation(self) -> np.ndarray:
        return np.array([self.label, self.episode, self.steps], dtype=np.float64)


class FailingEnv(_CountingEnv):
    """Raises ``error`` in step ``at_step`` of every env episode, before which V(s) = 1 / (1 - γ).

    ``limit`` truncates; where it is below ``at_step`` nothing ever fails. ``at_step=0`` raises in reset.
    """

    def __init__(self, at_step: int, *, limit: int | None = None, error: type[BaseException] = ValueError) -> None:
        super().__init__()
        self.at_step, self.limit, self.error = at_step, limit, error

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        if self.at_step == 0:
            raise self.error("out of order")
        return super().reset(seed=seed)

    def step(self, action: Any) -> Step:
        observation, reward, terminated, _, info = super().step(action)
        if self.steps == self.at_step:
            raise self.error("out of order")
        return observation, reward, terminated, self.steps == self.limit, info


class SharedBufferEnv(_CountingEnv):
    """Returns the same array object from every call, and truncates after ``limit`` steps: V(s) = 1 / (1 - γ)."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.buffer = np.zeros(1, dtype=np.float32)

    def step(self, action: Any) -> Step:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.steps >= self.limit, info

    def _observation(self) -> np.ndarray:
        self.buffer[0] = self.steps
        return self.buffer
