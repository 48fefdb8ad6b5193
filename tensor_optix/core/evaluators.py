"""The default evaluator: mean return of finished env episodes, or mean reward per step where none ever finish."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.episode_counter import EpisodeCounter
from tensor_optix.core.episode_facts import EpisodeFacts
from tensor_optix.core.types import EpisodeData, EvalMetrics

ScoreFn = Callable[[EpisodeData, dict[str, Any]], float]

PATIENCE_WINDOWS = 20  # how long to wait for a first env episode before scoring per step
PATIENCE_STEPS = 20_000
STREAM_STEPS = 2_000  # steps per score where no env episode ever ends
ON_POLICY_EPISODES, OFF_POLICY_EPISODES = 1, 5


class ReturnEvaluator(BaseEvaluator):
    """Scores a policy by the mean return of the env episodes that have ended since the last score.

    The unit is fixed once: return per env episode when the first one ends; reward per step when none has ended
    for a long time. A score waits until ``score_episodes`` have ended (default 1 for on-policy agents, 5 for
    off-policy ones). ``metrics`` holds n_episodes, standard_error and policy_share, the share of scored steps
    that were acted by the scored policy itself; and what the environment says of the ended episodes in their last
    ``info``: success_rate (of ``is_success`` or ``success``) and the mean of every other number as ``info/NAME``.

    primary_score_fn: (episode_data, diagnostics) -> float replaces the score, window by window.
    """

    def __init__(self, primary_score_fn: ScoreFn | None = None, *, score_episodes: int | None = None) -> None:
        self._score_fn = primary_score_fn
        self._score_episodes = score_episodes
        self._required, self._required_steps = score_episodes or ON_POLICY_EPISODES, STREAM_STEPS
        self._silence_windows, self._silence_steps = PATIENCE_WINDOWS, PATIENCE_STEPS
        self._unit: str | None = None
        self._windows = 0
        self._steps = 0
        self._counter = EpisodeCounter()
        self._pool = _Pool()

    @property
    def scores_whole_episodes(self) -> bool:
        """True once the unit is return per env episode."""
        return self._score_fn is None and self._unit == "episode"

    def expect(self, *, is_on_policy: bool, max_episode_steps: int | None, is_live: bool) -> None:
        """Choose how many episodes make a score, and how long to wait for a first one."""
        if self._score_episodes is None:
            self._required = ON_POLICY_EPISODES if is_on_policy else OFF_POLICY_EPISODES
        self._silence_steps = 0 if is_live else max(PATIENCE_STEPS, 2 * (max_episode_steps or 0))

    def restart(self) -> None:
        """Forget the pool and open episodes of the policies before; the unit stays."""
        self._pool = _Pool()
        self._counter.restart()

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics | None:
        """The score of this window's policy, or None while too few episodes have ended."""
        window = _window_metrics(episode_data, train_diagnostics)
        if self._score_fn is not None:
            score = float(self._score_fn(episode_data, train_diagnostics))
            return EvalMetrics(score, {**window, "primary_score": score}, episode_data.episode_id)
        self._take(self._counter.complete(episode_data))
        if not self._is_due():
            return None
        metrics = self._pool.metrics(per_step=self._unit == "step")
        self._pool = _Pool()
        return EvalMetrics(metrics["primary_score"], {**window, **metrics}, episode_data.episode_id)

    def score_validation(self, episode_data: EpisodeData) -> EvalMetrics | None:
        """Scored by itself, whatever its length: nothing of it joins the training pool, nothing of the pool joins it.

        A subclass that scores in a way of its own scores this in the same way.
        """
        alone = copy.copy(self)
        alone._windows, alone._steps = 0, 0
        alone._counter, alone._pool = EpisodeCounter(), _Pool()
        alone._required, alone._required_steps = 1, 1
        return alone.score(episode_data, {})

    def state_dict(self) -> dict[str, Any]:
        """The unit, the clock, the open pool and the open episodes."""
        return {
            "unit": self._unit, "windows": self._windows, "steps": self._steps,
            "counter": self._counter.state_dict(), "pool": self._pool.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._unit, self._windows, self._steps = state["unit"], state["windows"], state["steps"]
        self._counter.load_state_dict(state["counter"])
        self._pool.load_state_dict(state["pool"])

    def _take(self, data: EpisodeData) -> None:
        self._windows += 1
        self._steps += data.length
        self._pool.add(data)
        if self._unit is None and data.episode_returns:
            self._unit = "episode"
        if self._unit is None and self._windows >= self._silence_windows and self._steps >= self._silence_steps:
            self._unit = "step"

    def _is_due(self) -> bool:
        if self._unit == "step":
            return self._pool.steps >= self._required_steps
        return self._unit == "episode" and len(self._pool.returns) >= self._required


class _Pool:
    """What has been collected since the last score."""

    def __init__(self) -> None:
        self.returns: list[float] = []
        self.lengths: list[int] = []
        self.steps = 0
        self._own_steps = 0
        self._reward = 0.0
        self._facts = EpisodeFacts()

    def add(self, data: EpisodeData) -> None:
        """Add a window. Steps of earlier windows were acted by earlier policies: they are nobody's own now."""
        self.returns += data.episode_returns
        self.lengths += data.episode_lengths
        self._own_steps = sum(map(min, data.episode_lengths, _steps_since_start(data)))
        self.steps += data.length
        self._reward += data.total_reward
        self._facts.add(data)

    def metrics(self, *, per_step: bool) -> dict[str, float]:
        """The score and how far it can be trusted."""
        if per_step:
            return {"primary_score": self._reward / self.steps, "n_steps": float(self.steps)}
        n = len(self.returns)
        spread = float(np.std(self.returns, ddof=1)) if n > 1 else math.nan
        return {
            **self._facts.means,
            "primary_score": float(np.mean(self.returns)),
            "n_episodes": float(n),
            "standard_error": spread / math.sqrt(n),
            "policy_share": self._own_steps / max(1, sum(self.lengths)),
            "episode_length": float(np.mean(self.lengths)),
        }

    def state_dict(self) -> dict[str, Any]:
        return {"returns": list(self.returns), "lengths": list(self.lengths), "steps": self.steps,
                "reward": self._reward, "facts": self._facts.state_dict()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.returns, self.lengths = list(state["returns"]), list(state["lengths"])
        self.steps, self._reward = state["steps"], state["reward"]
        self._facts.load_state_dict(state["facts"])


def _steps_since_start(data: EpisodeData) -> list[int]:
    """For every episode that ended here: rows from the start of its segment to its end."""
    starts = np.array([start for start, _ in data.row_ranges])
    return [row - int(starts[starts <= row].max()) + 1 for row in data.ended_rows]


def _window_metrics(data: EpisodeData, diagnostics: dict[str, Any]) -> dict[str, float]:
    rewards = np.asarray(data.rewards, dtype=float)
    numeric = {k: float(v) for k, v in diagnostics.items() if isinstance(v, int | float | np.number)}
    window = {"total_reward": float(rewards.sum()), "episode_length": float(rewards.size)}
    if rewards.size:
        window |= {"mean_reward": float(rewards.mean()), "reward_std": float(rewards.std())}
    return {**numeric, **window}
