"""How one trial runs: an RLOptimizer of its own, watched, pruned where it falls behind, and valued."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.types import EvalMetrics, StopReason
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.optimizers.no_tuning import NoTuning

LAST_SHARE = 0.2
"""The final part of a trial whose mean score is the trial's score."""

WEIGHT_OF_LAST = 0.7


class Verdicts(Protocol):
    """What a trial tells its search, and asks it (Optuna's Trial)."""

    @property
    def number(self) -> int: ...
    def report(self, value: float, step: int) -> None: ...
    def should_prune(self) -> bool: ...
    def set_user_attr(self, key: str, value: Any) -> None: ...


@dataclass(frozen=True)
class TrialPlan:
    """What every trial of a search has in common.

    max_steps: env steps of one trial. settings: further keywords of RLOptimizer. parent: where each trial gets a
    directory of its own.
    """

    agent_factory: Callable[[dict[str, Any]], Any]
    pipeline_factory: Callable[[], BasePipeline]
    max_steps: int
    parent: str
    val_pipeline_factory: Callable[[], BasePipeline] | None = None
    checkpoint_score_fn: Callable[[BaseAgent], float] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measure(self) -> str | None:
        """The metric that policies are chosen by, where it is not the training score: scores of one unit only."""
        if self.checkpoint_score_fn is not None:
            return "external_score"
        return "val_score" if self.val_pipeline_factory is not None else None

    def optimizer(self, params: dict[str, Any], number: int, seed: int, watch: LoopCallback) -> RLOptimizer:
        """The run of trial ``number`` with these hyperparameters."""
        settings = {"evaluation_episodes": 0, "optimizer": NoTuning(), **self.settings}  # a trial is one configuration
        if self.val_pipeline_factory is not None:
            settings["val_pipeline"] = self.val_pipeline_factory()
        if self.checkpoint_score_fn is not None:
            settings["checkpoint_score_fn"] = self.checkpoint_score_fn
        agent = self.agent_factory(dict(params))  # first: it may add to the callbacks
        callbacks = [*settings.pop("callbacks", ()), watch]
        return RLOptimizer(
            agent=agent, pipeline=self.pipeline_factory(), callbacks=callbacks,
            max_steps=self.max_steps, seed=seed, checkpoint_dir=f"{self.parent}/trial-{number:04d}", **settings,
        )  # fmt: skip


@dataclass(frozen=True)
class TrialOutcome:
    """What a finished trial was worth.

    score: mean of the last fifth of its scores, in the evaluator's unit. objective: what trials are ranked by:
    0.7 score + 0.3 the mean over the whole trial, which is larger for a run that learned early.
    """

    score: float
    objective: float
    pruned: bool


class Watch(LoopCallback):
    """Reports every score of a run, and ends it when the search has seen enough.

    measure: the metric that counts as the score (that of validation, or an external one); None: the score itself.
    """

    def __init__(self, trial: Verdicts, measure: str | None = None) -> None:
        self._trial = trial
        self._measure = measure
        self.scores: list[float] = []
        self.pruned = False
        self.stop: Callable[[], None] = lambda: None

    def on_episode_end(self, episode_id: int, eval_metrics: EvalMetrics | None) -> None:
        if eval_metrics is None or (self._measure is not None and self._measure not in eval_metrics.metrics):
            return
        score = eval_metrics.primary_score if self._measure is None else eval_metrics.metrics[self._measure]
        self.scores.append(score)
        self._trial.report(outcome_of(self.scores).objective, step=episode_id)
        if self._trial.should_prune():
            self.pruned = True
            self.stop()


def run_trial(plan: TrialPlan, trial: Verdicts, params: dict[str, Any], seed: int) -> TrialOutcome:
    """Train with ``params`` until the trial's budget is spent, the run has converged, or it is pruned."""
    watch = Watch(trial, plan.measure)
    optimizer = plan.optimizer(params, trial.number, seed, watch)
    watch.stop = optimizer.stop
    optimizer.run()
    trial.set_user_attr("run_dir", str(optimizer.run_dir))
    if optimizer.result is not None and optimizer.result.reason in (StopReason.INTERRUPTED, StopReason.TERMINATED):
        raise KeyboardInterrupt  # the run ended in order; so must the search
    outcome = outcome_of(watch.scores)
    return TrialOutcome(outcome.score, outcome.objective, watch.pruned)


def outcome_of(scores: Sequence[float]) -> TrialOutcome:
    """The value of a trial with these scores, oldest first; NaN for one without any."""
    if not scores:
        return TrialOutcome(math.nan, math.nan, pruned=False)
    last = float(np.mean(scores[-max(1, round(LAST_SHARE * len(scores))) :]))
    objective = WEIGHT_OF_LAST * last + (1 - WEIGHT_OF_LAST) * float(np.mean(scores))
    return TrialOutcome(last, objective, pruned=False)
