"""How do observations and rewards get a scale that networks like? Running moments, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tensor_optix.core.hyperparams import Param
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError, NonFiniteError

CONSTANT = 1e-8
"""A deviation below this share of the mean is rounding: the column is constant, and is not blown up."""


_GAMMA, _EPSILON = Param("float", limits="[0, 1]"), Param("float", limits="[0, inf)")


class RunningMeanStd:
    """Mean and variance [*shape] of all rows seen so far, batch by batch, whatever the split into batches.

    epsilon: what ``count`` says before the first batch (mean 0 and variance 1 until then); no row of data counts less.
    Raises ConfigError for an epsilon below 0.
    """

    def __init__(self, shape: int | tuple[int, ...] = (), epsilon: float = 1e-4) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.mean = np.zeros(self.shape)
        self.var = np.ones(self.shape)
        self.count = float(_EPSILON.checked("epsilon", epsilon))
        self._is_empty = True

    @property
    def std(self) -> np.ndarray:
        """What to divide by: the deviation, and 1 for what is constant."""
        is_constant = self.var <= (CONSTANT * np.abs(self.mean)) ** 2
        divisor: np.ndarray = np.where(is_constant, 1.0, np.sqrt(self.var + 1e-8))
        return divisor

    def update(self, x: ArrayLike) -> None:
        """Add rows [B, *shape], or one row [*shape]. Raises NonFiniteError, and changes nothing, for NaN or infinity.

        Moments of the two sets merge exactly (Chan et al. 1983, "Algorithms for computing the sample variance"):

            δ = mean_b - mean     mean' = mean + δ n_b / n'     M' = M + M_b + δ² n n_b / n'     var = M / n
        """
        rows = self._rows(x)
        if not len(rows):
            return
        n_rows, mean = len(rows), rows.mean(axis=0)
        moment = np.square(rows - mean).sum(axis=0)
        n = 0.0 if self._is_empty else self.count
        total = n + n_rows
        delta = mean - self.mean if n else mean
        self.mean = np.asarray((self.mean if n else 0.0) + delta * (n_rows / total))
        self.var = np.asarray(((self.var * n if n else 0.0) + moment + delta**2 * (n * n_rows / total)) / total)
        self.count, self._is_empty = float(total), False

    def normalize(self, x: ArrayLike, clip: float = 10.0) -> np.ndarray:
        """``(x - mean) / std`` within [-clip, clip], in float32. Raises ConfigError for another shape."""
        normalized = (self._fitting(x) - self.mean) / self.std
        narrow: np.ndarray = np.clip(normalized, -clip, clip).astype(np.float32)
        return narrow

    def state_dict(self) -> dict[str, Any]:
        """Moments and count."""
        return {"mean": self.mean.copy(), "var": self.var.copy(), "count": self.count, "is_empty": self._is_empty}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken. Raises ConfigError for moments of another shape."""
        mean, var = np.array(state["mean"], dtype=np.float64), np.array(state["var"], dtype=np.float64)
        if mean.shape != self.shape or var.shape != self.shape:
            raise ConfigError(f"stored statistics have shape {mean.shape}, this normaliser {self.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0.0).all()):
            raise ConfigError("stored statistics must be finite, with a variance of at least 0")
        self.mean, self.var = mean, var
        self.count, self._is_empty = float(state["count"]), bool(state["is_empty"])

    def _fitting(self, x: ArrayLike) -> np.ndarray:
        given = np.asarray(x, dtype=np.float64)
        if given.shape[given.ndim - len(self.shape) :] != self.shape or given.ndim < len(self.shape):
            raise ConfigError(f"expected rows of shape {self.shape}, got an array of shape {given.shape}")
        return given

    def _rows(self, x: ArrayLike) -> np.ndarray:
        given = self._fitting(x)
        if not np.isfinite(given).all():
            raise NonFiniteError("statistics take finite numbers only, got NaN or infinity")
        return given.reshape(-1, *self.shape)


class ObsNormalizer:
    """Observations [*obs_shape] with mean 0 and deviation 1, within [-clip, clip]. Only ``update`` changes it.

    Raises ConfigError for a clip that is not above 0.
    """

    def __init__(self, obs_shape: int | tuple[int, ...], clip: float = 10.0) -> None:
        self.clip = _checked_clip(clip)
        self._statistics = RunningMeanStd(obs_shape)

    @property
    def mean(self) -> np.ndarray:
        """Mean of all observations so far."""
        return self._statistics.mean

    @property
    def var(self) -> np.ndarray:
        """Their variance."""
        return self._statistics.var

    def update(self, obs: ArrayLike) -> None:
        """Count observations [B, *obs_shape], or one."""
        self._statistics.update(obs)

    def normalize(self, obs: ArrayLike) -> np.ndarray:
        """``obs``, one or many, in float32."""
        return self._statistics.normalize(obs, self.clip)

    def state_dict(self) -> dict[str, Any]:
        """The statistics."""
        return self._statistics.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._statistics.load_state_dict(state)


class RewardNormalizer:
    """Rewards over the deviation of the running discounted return (Engstrom et al. 2020, "Implementation matters").

        R_t = γ R_{t-1} + r_t     (from 0 at the start of each env episode)         r'_t = clip(r_t / std(R), ±clip)

    No mean is subtracted: that would change which policy is best. Every environment has its own R.
    ``gamma`` may be set at any time.
    Raises ConfigError for a gamma outside [0, 1], a clip that is not above 0 or an epsilon below 0.
    """

    def __init__(self, gamma: float = 0.99, clip: float = 10.0, epsilon: float = 1e-8) -> None:
        self.gamma = _GAMMA.checked("gamma", gamma)
        self.clip = _checked_clip(clip)
        self.epsilon = _EPSILON.checked("epsilon", epsilon)
        self._statistics = RunningMeanStd()
        self._returns: dict[int, float] = {}

    @property
    def std(self) -> float:
        """What rewards are divided by; 1 as long as returns do not vary."""
        variance = float(self._statistics.var)
        is_constant = variance <= (CONSTANT * float(self._statistics.mean)) ** 2
        return 1.0 if is_constant else float(np.sqrt(variance + self.epsilon))

    def step(self, reward: float, env_index: int = 0) -> None:
        """Count one reward of environment ``env_index``."""
        running = self.gamma * self._returns.get(env_index, 0.0) + float(reward)
        self._statistics.update(running)
        self._returns[env_index] = running

    def reset(self, env_index: int = 0) -> None:
        """An env episode of environment ``env_index`` ended: its return starts from 0 again."""
        self._returns[env_index] = 0.0

    def update_window(self, window: EpisodeData) -> None:
        """``step`` for every reward of ``window`` and ``reset`` at every end, environment by environment.

        Returns go on where the last window left them. Raises NonFiniteError and changes nothing.
        """
        rewards, done = np.asarray(window.rewards, dtype=np.float64), window.dones
        running, after = np.empty(len(rewards)), dict(self._returns)
        for env, (start, stop) in enumerate(window.row_ranges):
            rows = slice(start, stop)
            running[rows], after[env] = _running_returns(rewards[rows], done[rows], self.gamma, after.get(env, 0.0))
        self._statistics.update(running)
        self._returns = after

    def normalize(self, rewards: ArrayLike) -> np.ndarray:
        """Scaled rewards, float32, of the same shape."""
        scaled = np.asarray(rewards, dtype=np.float64) / self.std
        narrow: np.ndarray = np.clip(scaled, -self.clip, self.clip).astype(np.float32)
        return narrow

    def state_dict(self) -> dict[str, Any]:
        """The statistics and every environment's open return."""
        envs = sorted(self._returns)
        return {
            "statistics": self._statistics.state_dict(),
            "envs": envs,
            "returns": [self._returns[env] for env in envs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._statistics.load_state_dict(state["statistics"])
        self._returns = {int(env): float(r) for env, r in zip(state["envs"], state["returns"], strict=True)}


def _checked_clip(clip: float) -> float:
    if not clip > 0:  # NaN is not either; infinity clips nothing
        raise ConfigError(f"clip must be above 0, got {clip!r}")
    return float(clip)


def _running_returns(rewards: np.ndarray, done: list[bool], gamma: float, carried: float) -> tuple[list[float], float]:
    """``(R_t of each row, R after the last one)``, forwards; R starts from 0 after each row that is done."""
    running, returns = carried, []
    for reward, is_done in zip(rewards.tolist(), done, strict=True):
        running = gamma * running + reward
        returns.append(running)
        running = 0.0 if is_done else running
    return returns, running
