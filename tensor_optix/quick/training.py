"""train, prepare and resume: runs from an environment id, or from a directory."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, overload

from tensor_optix.core.budget import Budget, Spent, explain
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.reporting import Reporter
from tensor_optix.core.rng import RandomStreams, checked_seed, fresh_seed
from tensor_optix.core.types import StopReason
from tensor_optix.errors import ConfigError
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.quick.assembly import optimizer_of
from tensor_optix.quick.experiment import Experiment
from tensor_optix.quick.plan import Plan, plan
from tensor_optix.quick.runs import Run, stored_recipe
from tensor_optix.quick.telling import Teller
from tensor_optix.storage import FileSystem, RunDirectory

_LARGER_BUDGET = {
    StopReason.MAX_STEPS: "give a larger max_steps (--max-steps) to go on",
    StopReason.MAX_TIME: "give a larger max_time (--max-time) to go on",
    StopReason.MAX_EPISODES: "train anew with more of them",
}


@overload
def train(
    env_id: str, algorithm: str = ..., backend: str = ..., *, seed: int | None = ..., seeds: None = ...,
    out: str | Path | None = ..., init_from: str | Path | None = ..., callbacks: Iterable[LoopCallback] = ...,
    verbose: bool = ..., **settings: Any,
) -> Run: ...  # fmt: skip


@overload
def train(
    env_id: str, algorithm: str = ..., backend: str = ..., *, seed: int | None = ..., seeds: int,
    out: str | Path | None = ..., init_from: str | Path | None = ..., callbacks: Iterable[LoopCallback] = ...,
    verbose: bool = ..., **settings: Any,
) -> Experiment: ...  # fmt: skip


def train(
    env_id: str,
    algorithm: str = "auto",
    backend: str = "auto",
    *,
    seed: int | None = None,
    seeds: int | None = None,
    out: str | Path | None = None,
    init_from: str | Path | None = None,
    callbacks: Iterable[LoopCallback] = (),
    verbose: bool = True,
    **settings: Any,
) -> Any:
    """Plan, train until nothing more is to be gained, and give a ``Run`` back; its agent holds the best policy.

    seeds: so many runs one after the other, each with a seed of its own: an ``Experiment`` comes back.
    verbose: tell the plan and a line at every evaluation point. The others: as for ``plan``.
    """
    options: dict[str, Any] = {"out": out, "init_from": init_from, **settings}
    if seeds is None:
        return _trained(plan(env_id, algorithm, backend, seed=seed, **options), callbacks, verbose)
    roots = experiment_seeds(seed, seeds)
    plans = [plan(env_id, algorithm, backend, seed=root, **options) for root in roots]
    return Experiment.of([_trained(each, callbacks, verbose) for each in plans])


def experiment_seeds(seed: int | None, n: int) -> list[int]:
    """``n`` root seeds, all functions of one (drawn where it is None). Raises ConfigError."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ConfigError(f"seeds must be a whole number of at least 1, got {n!r}")
    streams = RandomStreams(fresh_seed() if seed is None else checked_seed(seed))
    return [streams.counter_seed("experiment", number) for number in range(n)]


def prepare(
    env_id: str,
    *,
    algorithm: str = "auto",
    backend: str = "auto",
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    init_from: str | Path | None = None,
    max_steps: int | None = None,
    max_time: float | None = None,
    reporters: Iterable[Reporter] = (),
    callbacks: Iterable[LoopCallback] = (),
) -> RLOptimizer:
    """``plan(...).build()``, for callers that hold settings as text: a run on ``env_id``, ready to ``run()``."""
    limits = _limits(max_steps, max_time)
    made = plan(env_id, algorithm, backend, seed=seed, out=out, init_from=init_from, **{**(settings or {}), **limits})
    return made.build(reporters=reporters, callbacks=callbacks)


def resume(
    run_dir: str | Path,
    *,
    max_steps: int | None = None,
    max_time: float | None = None,
    reporters: Iterable[Reporter] = (),
    callbacks: Iterable[LoopCallback] = (),
    allow_import: bool = False,
) -> RLOptimizer:
    """A run that ``plan`` made, ready to go on exactly where its last commit was.

    max_steps, max_time: new limits, counted from the beginning of the run; those that it was made with hold otherwise.
    allow_import: let an environment id of the form module:Name import its module.

    Raises CheckpointError for what is no such run or has converged, ConfigError where no budget is left.
    """
    run = RunDirectory.open(FileSystem(), Path(run_dir))
    recipe = stored_recipe(run, allow_import=allow_import)
    recipe = dataclasses.replace(recipe, settings={**recipe.settings, **_limits(max_steps, max_time)})
    optimizer, _ = optimizer_of(
        recipe, checkpoint_dir=run.path.parent, resume=run.path, reporters=reporters, callbacks=callbacks,
        details=run.identity["details"],
    )  # fmt: skip
    _require_budget(run, LoopConfig(**recipe.settings))
    return optimizer


# -- helpers -------------------------------------------------------------------------------------------------------


def _trained(made: Plan, callbacks: Iterable[LoopCallback], verbose: bool) -> Run:
    reporters = [Teller(sys.stdout, str(made))] if verbose else []
    optimizer, pipeline = made.optimizer(callbacks=callbacks, reporters=reporters)
    optimizer.run()
    return Run(optimizer.run_dir, optimizer.agent, pipeline, optimizer.registry, made.recipe, optimizer.result)


def _limits(max_steps: int | None, max_time: float | None) -> dict[str, Any]:
    """Those that were given."""
    limits = {"max_steps": max_steps, "max_time": max_time}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _require_budget(run: RunDirectory, config: LoopConfig) -> None:
    """Raise ConfigError when nothing is left to spend. (A run that was broken off in its closing may repeat that.)"""
    summary = run.summary
    spent = Spent(*(_number(summary.get(name)) for name in ("windows", "env_steps", "seconds")))
    used_up = Budget(config.max_episodes, config.max_steps, config.max_time).exhausted(spent)
    if used_up is not None and (summary.get("final") is not None or not config.evaluation_episodes):
        cost = f"{spent.env_steps:,} steps, {spent.seconds:.0f} s"
        raise ConfigError(f"{run.path}: {explain(used_up)} ({cost} so far); {_LARGER_BUDGET[used_up]}")


def _number(value: Any) -> Any:
    """``value``, or 0 for whatever else a file may hold there."""
    return value if isinstance(value, int | float) else 0
