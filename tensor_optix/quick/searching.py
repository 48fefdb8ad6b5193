"""How are hyperparameters searched for, from an environment id?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.rng import RandomStreams
from tensor_optix.orchestrator import TrialOrchestrator
from tensor_optix.pipeline.env_pipeline import EnvPipeline
from tensor_optix.quick.assembly import parts_of, pipeline_for
from tensor_optix.quick.plan import Plan
from tensor_optix.search.study import OnTrial

LIMITS = ("max_episodes", "max_steps", "max_time")
"""They are those of the long run."""


@dataclass(frozen=True)
class Found:
    """The best trial: its hyperparameters, its score, and the plan of the long run with them."""

    hyperparams: dict[str, Any]
    score: float
    plan: Plan


@dataclass(frozen=True)
class AgentOf:
    """Hyperparameters -> an agent of the plan. (A class: worker processes get it by pickling.)"""

    plan: Plan

    def __call__(self, hyperparams: dict[str, Any]) -> BaseAgent:
        recipe = self.plan.recipe
        agent, _ = parts_of(dataclasses.replace(recipe, hyperparams={**recipe.hyperparams, **hyperparams}))
        return agent


@dataclass(frozen=True)
class PipelineOf:
    """() -> a pipeline of the plan."""

    plan: Plan

    def __call__(self) -> EnvPipeline:
        return pipeline_for(self.plan.recipe.build)


def search(
    plan: Plan,
    *,
    trials: int,
    trial_steps: int,
    jobs: int = 1,
    storage: str | None = None,
    warm_start: bool = False,
    on_trial: OnTrial | None = None,
) -> Found:
    """Search over what the algorithm declares as tunable, with the plan's own values tried first.

    warm_start: the long run begins with the best trial's best policy. on_trial: told how each trial has ended.
    Continues a study that is there.
    Raises MissingDependency without Optuna.
    """
    settings = {name: value for name, value in plan.recipe.settings.items() if name not in LIMITS}
    orchestrator = TrialOrchestrator(
        AgentOf(plan), PipelineOf(plan), n_trials=trials, trial_steps=trial_steps, n_jobs=jobs, storage=storage,
        n_startup_trials=min(10, max(1, trials // 2)), seed=RandomStreams(plan.seed).counter_seed("search"),
        rloptimizer_kwargs={**settings, "checkpoint_dir": study_directory(plan)}, on_trial=on_trial,
    )  # fmt: skip
    hyperparams, score = orchestrator.run()
    winner = dataclasses.replace(plan.recipe, hyperparams={**plan.recipe.hyperparams, **hyperparams})
    reasons = {**plan.reasons, **{name: "best of the search" for name in hyperparams}}
    start = orchestrator.best_run_dir if warm_start else plan.init_from
    return Found(hyperparams, score, dataclasses.replace(plan, recipe=winner, reasons=reasons, init_from=start))


def study_directory(plan: Plan) -> Path:
    """Where the study and the runs of its trials are."""
    return plan.out
