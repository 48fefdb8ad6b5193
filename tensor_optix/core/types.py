"""The data that travels through the loop: windows, scores, hyperparameters, snapshots, results."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.errors import ConfigError


class LoopState(Enum):
    """What the loop is doing: learning, seeing no gain, finished, or watching a stream without learning."""

    ACTIVE = auto()
    COOLING = auto()
    DORMANT = auto()
    WATCHDOG = auto()


class Verdict(Enum):
    """What the evidence says about the training signal."""

    IMPROVING = "improving"
    FLAT = "flat"
    CONVERGED = "converged"
    CEILING = "ceiling"
    OVERFITTING = "overfitting"
    STUCK = "stuck"
    COLLAPSED = "collapsed"


class StopReason(Enum):
    """Why ``run()`` returned."""

    CONVERGED = "converged"
    CEILING = "ceiling"
    OVERFITTING = "overfitting"
    STUCK = "stuck"
    COLLAPSED = "collapsed"
    TARGET_SCORE = "target_score"
    MAX_EPISODES = "max_episodes"
    MAX_STEPS = "max_steps"
    MAX_TIME = "max_time"
    STOPPED = "stopped"
    PIPELINE_ENDED = "pipeline_ended"
    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"

    @property
    def is_convergence(self) -> bool:
        """True when the loop itself decided that nothing more is to be gained."""
        return self in (StopReason.CONVERGED, StopReason.CEILING, StopReason.OVERFITTING)


@dataclass
class EpisodeData:
    """One window: the transitions that a pipeline collected with one policy. (The published name says "episode".)

    observations, actions: arrays [T, ...]; rewards, terminated, truncated: lists of length T.
    With several environments the rows are env-major (all rows of env 0, then env 1, ...) and ``segments`` lists
    each environment's row range ``(start, stop)``; None means one environment.

    extras: what an agent needs for learning beyond observation and action, arrays [T, ...] by name.
    final_observations: row -> true successor, for the rows whose successor is not the next row (ends of env
    episodes and of segments).
    episode_returns, episode_lengths: of the env episodes that ended in this window, in row order, counted from
    their own reset even where that lies windows ago; episode_ends: the row at which each of them ended. (An episode
    that a failing environment cut short is done at its last row, too, but is none of these.)
    intrinsic_rewards: a bonus by row that agents learn from (see ``for_learning``) and no score ever holds.
    """

    observations: Any
    actions: Any
    rewards: list[float]
    terminated: list[bool]
    truncated: list[bool]
    infos: list[dict[str, Any]]
    episode_id: int
    values: Sequence[float] | None = None
    log_probs: Sequence[float] | None = None
    timestamp: float = field(default_factory=time.time)
    metadata: dict[str, Any] = field(default_factory=dict)
    episode_starts: list[int] | None = None
    final_obs: Any | None = None
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    segments: list[tuple[int, int]] | None = None
    final_observations: dict[int, Any] = field(default_factory=dict)
    episode_returns: list[float] = field(default_factory=list)
    episode_lengths: list[int] = field(default_factory=list)
    episode_ends: list[int] | None = None
    intrinsic_rewards: list[float] | None = None

    @property
    def dones(self) -> list[bool]:
        """Terminated or truncated, by row."""
        return [a or b for a, b in zip(self.terminated, self.truncated, strict=True)]

    @property
    def total_reward(self) -> float:
        """Sum of the window's rewards."""
        return float(sum(self.rewards))

    @property
    def length(self) -> int:
        """Number of rows T."""
        return len(self.rewards)

    @property
    def env_steps(self) -> int:
        """What the window cost: its rows, unless ``metadata["env_steps"]`` says more (it stands for many)."""
        return int(self.metadata.get("env_steps", self.length))

    @property
    def row_ranges(self) -> list[tuple[int, int]]:
        """The row range of each environment; the whole window when there is only one."""
        return self.segments if self.segments is not None else [(0, self.length)]

    @property
    def ended_rows(self) -> list[int]:
        """The row at which each env episode ended; every done row where the pipeline says nothing."""
        if self.episode_ends is not None:
            return self.episode_ends
        return [row for row, done in enumerate(self.dones) if done]

    @property
    def boundary_rows(self) -> np.ndarray:
        """Rows [K] whose successor is not the next row: ends of env episodes and of segments, ascending."""
        return np.array(self._boundaries, dtype=np.int64)

    @property
    def boundary_observations(self) -> np.ndarray:
        """The true successors of ``boundary_rows``, [K, ...].

        Where nobody recorded one (a window built by hand), ``final_obs`` serves for the last row and otherwise
        the row's own observation: exact after termination, where no value is bootstrapped, and V(s) in place of
        V(s') after truncation.
        """
        observations = np.asarray(self.observations)
        successors = [self._successor(row, observations) for row in self._boundaries]
        return np.stack(successors) if successors else observations[:0]

    @property
    def next_observations(self) -> np.ndarray:
        """The true successor of every row, [T, ...]; materialised on each call."""
        observations = np.asarray(self.observations)
        successors = np.roll(observations, -1, axis=0)
        successors[self.boundary_rows] = self.boundary_observations
        return successors

    def for_reading(self) -> EpisodeData:
        """The same window for somebody who only looks at it: whatever is done to it, this one stays as it is.

        Its arrays are views that refuse to be written to, its lists are copies (the infos in them are shared).
        """
        return replace(
            self,
            observations=_read_only(self.observations),
            actions=_read_only(self.actions),
            extras={name: _read_only(column) for name, column in self.extras.items()},
            final_observations={row: _read_only(observation) for row, observation in self.final_observations.items()},
            final_obs=_read_only(self.final_obs),
            metadata=dict(self.metadata),
            **{name: _copied(getattr(self, name)) for name in _LISTS},
        )

    def for_learning(self) -> EpisodeData:
        """The window that agents learn from: intrinsic rewards, where there are any, are part of ``rewards``."""
        if self.intrinsic_rewards is None:
            return self
        rewards = [reward + bonus for reward, bonus in zip(self.rewards, self.intrinsic_rewards, strict=True)]
        return replace(self, rewards=rewards, intrinsic_rewards=None)

    @property
    def _boundaries(self) -> list[int]:
        rows = {row for row, done in enumerate(self.dones) if done}
        rows.update(stop - 1 for start, stop in self.row_ranges if stop > start)
        return sorted(rows)

    def _successor(self, row: int, observations: np.ndarray) -> Any:
        if row in self.final_observations:
            return np.asarray(self.final_observations[row])
        if row == self.length - 1 and self.final_obs is not None:
            return np.asarray(self.final_obs)
        return observations[row]


_LISTS = (
    "rewards", "terminated", "truncated", "infos", "values", "log_probs", "episode_starts", "segments",
    "episode_returns", "episode_lengths", "episode_ends", "intrinsic_rewards",
)  # fmt: skip


def _read_only(column: Any) -> Any:
    """A view of an array, or of each array of a list, that cannot be written through."""
    if isinstance(column, list):
        return [_read_only(row) for row in column]
    if not isinstance(column, np.ndarray):
        return column
    view = column.view()
    view.flags.writeable = False
    return view


def _copied(column: Any) -> Any:
    return list(column) if isinstance(column, list) else _read_only(column)


@dataclass
class EvalMetrics:
    """The score of one policy (higher is better) and whatever else was measured with it."""

    primary_score: float
    metrics: dict[str, float]
    episode_id: int
    timestamp: float = field(default_factory=time.time)

    def beats(self, other: EvalMetrics, margin: float = 0.0) -> bool:
        """True when this score is above the other's by more than ``margin``."""
        return self.primary_score > other.primary_score + margin

    @property
    def generalization_gap(self) -> float | None:
        """Training score minus validation score, or None without validation."""
        if "train_score" in self.metrics and "val_score" in self.metrics:
            return self.metrics["train_score"] - self.metrics["val_score"]
        return None


@dataclass
class HyperparamSet:
    """Named hyperparameters: the base values that the user, the tuner and snapshots see."""

    params: dict[str, Any]
    episode_id: int = 0
    timestamp: float = field(default_factory=time.time)

    @classmethod
    def of(cls, given: Any) -> HyperparamSet:
        """``given``, or a set of it where it is a dict. Raises ConfigError for anything else."""
        if isinstance(given, HyperparamSet):
            return given
        if isinstance(given, Mapping):
            return cls(dict(given))
        raise ConfigError(
            f'hyperparameters are a HyperparamSet or a dict, such as {{"learning_rate": 3e-4}}, got {given!r}'
        )

    def copy(self) -> HyperparamSet:
        """A set of its own; the values themselves are shared."""
        return HyperparamSet(dict(self.params), self.episode_id, self.timestamp)


@dataclass
class PolicySnapshot:
    """One policy on disk. ``agent.load_weights(snapshot.weights_path)`` brings its weights back.

    selection_score: what it was chosen by, where that is not the evaluator's score of its own window (validation, or
    an external score). posterior_score: what that score says of the policy's level, given those before it; None where
    nothing is known beyond the score.
    """

    snapshot_id: str
    eval_metrics: EvalMetrics
    hyperparams: HyperparamSet
    weights_path: str
    episode_id: int
    timestamp: float = field(default_factory=time.time)
    selection_score: float | None = None
    posterior_score: float | None = None

    @property
    def rank(self) -> float:
        """The score by which this policy is compared with the others of its run."""
        return self.eval_metrics.primary_score if self.selection_score is None else self.selection_score

    @property
    def promise(self) -> float:
        """By what policies are kept beside the best one."""
        return self.rank if self.posterior_score is None else self.posterior_score


@dataclass(frozen=True)
class TuningEvidence:
    """What a tuner is told at a tick: which hyperparameters trained the policy whose score this is.

    env_steps, episodes: environment steps, and finished env episodes, since the previous tick.
    """

    hyperparams: Mapping[str, Any]
    score: float
    previous_score: float | None
    env_steps: int
    episodes: int


@dataclass(frozen=True)
class FinalScore:
    """Mean score over fresh evaluation episodes, with a 95 % interval; ``returns`` holds every episode's.

    The unit is the evaluator's own: with the default one, the return of an env episode.
    """

    mean: float
    low: float
    high: float
    returns: tuple[float, ...]
    deterministic: bool = True


@dataclass(frozen=True)
class ResumeLevel:
    """How exact a continuation of a run is, and why.

    E3: bit for bit, from any window boundary. E1: the complete learner, but environments (or a schedule of the user's)
    start anew. E0: weights only.
    """

    level: str
    why: str


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    score: of the best policy, on the selection signal (the evaluator's unit); None if nothing was ever scored. (An
    average of policies has the mean of the comparison that it won: no window scored it.)
    final: that policy on evaluation seeds used for nothing else; None where no environment could be had for it.
    env_steps: environment steps that training took, over all ``run()`` calls of this optimizer;
    evaluation_steps: those of the closing evaluation, reported apart; notes: what could not be done, and why;
    health: what was repaired, dropped or cut on the way, counted; resume: how exactly the run could be continued.
    """

    reason: StopReason
    verdict: Verdict
    explanation: str
    score: float | None
    final: FinalScore | None
    windows: int
    env_steps: int
    evaluation_steps: int
    seconds: float
    run_dir: Path
    best_snapshot: PolicySnapshot | None
    seed: int
    notes: tuple[str, ...] = ()
    health: Mapping[str, int] = field(default_factory=dict)
    resume: ResumeLevel = field(default_factory=lambda: ResumeLevel("E0", "not known"))
