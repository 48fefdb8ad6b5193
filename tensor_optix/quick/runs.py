"""What is left of a run, and how is it had again from its directory?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.plain_text import plain, printable
from tensor_optix.core.rng import checked_seed
from tensor_optix.core.types import FinalScore, RunResult
from tensor_optix.errors import CheckpointError, ConfigError
from tensor_optix.pipeline.env_pipeline import EnvPipeline
from tensor_optix.pipeline.environments import Env
from tensor_optix.quick.agents import agent_for
from tensor_optix.quick.assembly import Recipe, pipeline_for
from tensor_optix.quick.build import Build
from tensor_optix.quick.environments import env_factory, watchable
from tensor_optix.quick.policy import Policy
from tensor_optix.quick.spaces import Task
from tensor_optix.storage import FileSystem, RunDirectory


@dataclass(frozen=True, repr=False)
class Run:
    """A run that has ended, here or in another process: its agent holds the best policy.

    result: how it ended; None for a run that was loaded.
    """

    run_dir: Path
    agent: BaseAgent
    pipeline: EnvPipeline
    registry: CheckpointRegistry
    recipe: Recipe | None
    result: RunResult | None = None

    def __repr__(self) -> str:
        score, interval = self.best_score, self.interval
        told = "no score" if score is None else f"{score:.1f}"
        told += f" [95 %: {interval[0]:.1f} to {interval[1]:.1f}]" if interval else ""
        ended = f", {self.result.reason.value} after {self.result.env_steps:,} env steps" if self.result else ""
        return f"Run({printable(self.pipeline.description)}: {told}{ended}; {plain(str(self.run_dir))})"

    @property
    def best_score(self) -> float | None:
        """Of the best policy: on fresh seeds where it was evaluated so, else in training; None without any score."""
        final = self._final
        if final is not None:
            return float(final["mean"])
        return self.registry.best.eval_metrics.primary_score if self.registry.best else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % for ``best_score`` on fresh seeds; None where it was not evaluated so."""
        final = self._final
        return None if final is None else (float(final["low"]), float(final["high"]))

    @property
    def history(self) -> dict[str, np.ndarray]:
        """A column of numbers for everything that was logged at every tick: env_steps, score, best, ...

        NaN where a tick has no such number.
        """
        rows = [_flat(row) for row in self._directory.read_metrics()]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}

    @property
    def policy(self) -> Policy:
        """Acts on raw observations of the environment: ``action = run.policy(observation)``."""
        env = self.make_env()
        try:
            return Policy(self.agent, env, self.frame_stack)
        finally:
            env.close()

    def make_env(self, **keywords: Any) -> Env:
        """An environment to watch the policy in; keywords are for gymnasium.make (``render_mode="human"``)."""
        if self.recipe is None:
            raise ConfigError(f"{self.run_dir} was made with parts of its own: make its environment with them")
        return watchable(env_factory(self.recipe.build.env_id, self.frame_stack, **keywords)())

    def report(self) -> Path:
        """Write ``report.html`` into the run's directory; its path. Raises MissingDependency without matplotlib."""
        from tensor_optix.callbacks.report import write_report

        return write_report(self.run_dir)

    @property
    def identity(self) -> dict[str, Any]:
        """What run.json says that the run is."""
        return self._directory.identity

    @property
    def seed(self) -> int:
        """The root of its randomness."""
        return checked_seed(self.identity.get("seed"))

    @property
    def frame_stack(self) -> int:
        """So many last observations of the environment are one for the agent."""
        return self.recipe.build.frame_stack if self.recipe else 1

    @property
    def _directory(self) -> RunDirectory:
        return RunDirectory.open(FileSystem(), self.run_dir)

    @property
    def _final(self) -> Mapping[str, Any] | None:
        return _final_of(self.result.final) if self.result else final_score(self._directory)


def load(
    run_dir: str | Path,
    *,
    allow_import: bool = False,
    agent_factory: Callable[[], BaseAgent] | None = None,
    pipeline: EnvPipeline | None = None,
) -> Run:
    """A run from its directory, in any process: its agent is built again and gets the best policy.

    agent_factory, pipeline: for a run with networks of your own, how to make its agent and where it acts.
    allow_import: let an environment id of the form module:Name import its module.
    Raises CheckpointError when ``run_dir`` is no run, holds no policy, or needs an ``agent_factory``.
    """
    run = RunDirectory.open(FileSystem(), Path(run_dir))
    recipe = None
    if agent_factory is None or pipeline is None:
        recipe = stored_recipe(run, allow_import=allow_import)
        pipeline = pipeline or pipeline_for(recipe.build)
    agent = agent_factory() if agent_factory else _made_again(run, recipe, pipeline)
    registry = CheckpointRegistry(run.path)
    if registry.load_best(agent) is None:
        raise CheckpointError(run.path, "holds no policy: the run ended before anything was scored")
    return Run(run.path, agent, pipeline, registry, recipe)


def stored_recipe(run: RunDirectory, *, allow_import: bool = False) -> Recipe:
    """What run.json says that the run was made of: a file, which may say anything, so every entry is checked.

    Raises CheckpointError for a run of other networks, for impossible values, and for an environment id that would
    import a module unless that is allowed.
    """
    identity = run.identity
    details, settings, hyperparams = (identity.get(name) for name in ("details", "settings", "hyperparams"))
    try:
        build = Build.from_details(details)
    except ConfigError as error:
        remedy = "give agent_factory and pipeline to load it, or continue it by RLOptimizer(..., resume=...)"
        raise CheckpointError(run.path, f"was made with an agent of its own ({error}); {remedy}") from error
    if ":" in build.env_id and not allow_import:  # Gymnasium imports what stands before the colon
        raise CheckpointError(
            run.path, f"would import a module for its environment {build.env_id!r}, which is not allowed"
        )
    if not isinstance(settings, dict) or not isinstance(hyperparams, dict):
        raise CheckpointError(run.path, "does not say which settings and hyperparameters it was made with")
    try:
        LoopConfig.from_settings(settings)
        return Recipe(build, checked_seed(identity.get("seed")), build.space.checked(hyperparams), settings)
    except ConfigError as error:
        raise CheckpointError(run.path, f"was made with what cannot be: {error}") from error


def final_score(run: RunDirectory) -> dict[str, Any] | None:
    """mean, low and high of the closing evaluation as run.json has them; None where they are missing or odd."""
    final = run.summary.get("final")
    names = ("mean", "low", "high")
    if not isinstance(final, dict) or not all(isinstance(final.get(name), int | float) for name in names):
        return None
    return {name: float(final[name]) for name in names}


def _final_of(final: FinalScore | None) -> dict[str, Any] | None:
    return None if final is None else {"mean": final.mean, "low": final.low, "high": final.high}


def _made_again(run: RunDirectory, recipe: Recipe | None, pipeline: EnvPipeline) -> BaseAgent:
    """With the run's hyperparameters: some are fixed once an agent is made. Raises CheckpointError."""
    assert recipe is not None, "without a factory there is a recipe"
    try:
        return agent_for(recipe.build, Task.of(pipeline), recipe.hyperparams, seed=0)
    except ConfigError as error:
        raise CheckpointError(run.path, f"was made with what cannot be: {error}") from error


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a row, those of dicts inside by ``outer/inner``."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}/")
        elif isinstance(value, bool | int | float):
            found[f"{prefix}{name}"] = float(value)
    return found
