"""An environment id is enough: agents, pipelines and runs with defaults that train."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym

from tensor_optix.algorithms.spaces import PPO_SPACE
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.budget import Budget, Spent, explain
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.reporting import Reporter
from tensor_optix.core.rng import RandomStreams, checked_seed, fresh_seed
from tensor_optix.core.types import StopReason
from tensor_optix.errors import CheckpointError, ConfigError, nearest
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.storage import FileSystem, RunDirectory

WINDOW_SIZE = 2048
HIDDEN = (64, 64)

_LARGER_BUDGET = {
    StopReason.MAX_STEPS: "give a larger max_steps (--max-steps) to go on",
    StopReason.MAX_TIME: "give a larger max_time (--max-time) to go on",
    StopReason.MAX_EPISODES: "train anew with more of them",
}


@dataclass(frozen=True)
class LoadedRun:
    """A run read back from disk: its agent holds the best policy."""

    agent: BaseAgent
    pipeline: BatchPipeline
    registry: CheckpointRegistry
    identity: dict[str, Any]
    seed: int


@dataclass(frozen=True)
class Recipe:
    """What ``prepare`` made a run of. ``settings`` are fields of LoopConfig."""

    env_id: str
    seed: int
    hyperparams: dict[str, Any]
    settings: dict[str, Any]


class HasSpaces(Protocol):
    """An environment, or a pipeline over one."""

    @property
    def observation_space(self) -> gym.Space[Any]: ...
    @property
    def action_space(self) -> gym.Space[Any]: ...


def make_agent(
    env: HasSpaces,
    algorithm: str = "auto",
    backend: str = "auto",
    *,
    seed: int | None = None,
    **overrides: Any,
) -> BaseAgent:
    """An agent that fits the spaces of ``env``, with networks of its own and defaults that train.

    algorithm: "auto" or "ppo". backend: "auto" or "torch". seed: of the initial weights (default: drawn).
    overrides: hyperparameters by name.

    Raises ConfigError for spaces that no built-in agent handles yet, MissingDependency without PyTorch.
    """
    _choose("algorithm", algorithm, ("auto", "ppo"))
    _choose("backend", backend, ("auto", "torch"))
    n_inputs, n_actions = _dense_spaces(env)
    hyperparams = {**PPO_SPACE.defaults, **PPO_SPACE.checked(overrides, owner="PPO")}
    from tensor_optix.algorithms.torch_networks import dense_ppo

    streams = RandomStreams(fresh_seed() if seed is None else seed)
    seeds = (streams.counter_seed("initial actor"), streams.counter_seed("initial critic"))
    return dense_ppo(n_inputs, n_actions, HIDDEN, hyperparams, seeds=seeds)


def prepare(
    env_id: str,
    *,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    max_steps: int | None = None,
    max_time: float | None = None,
    reporters: Iterable[Reporter] = (),
    callbacks: Iterable[LoopCallback] = (),
) -> RLOptimizer:
    """A run on ``env_id``, ready to ``run()``. PyTorch is set to one thread: these networks are small.

    settings: hyperparameters and fields of LoopConfig by name; values may be text, as typed on a command line.
    out: the directory that gets the run's own one (default ``runs/<env id>``).

    Raises ConfigError for unknown ids, names and values, each with the nearest known one.
    """
    hyperparams, loop_settings = _sorted_settings(settings or {})
    recipe = Recipe(
        env_id,
        fresh_seed() if seed is None else checked_seed(seed),
        hyperparams,
        {**loop_settings, **_limits(max_steps, max_time)},
    )
    parent = Path("runs") / env_id.replace("/", "-").replace(":", "-") if out is None else Path(out)
    return _assembled(recipe, checkpoint_dir=parent, reporters=reporters, callbacks=callbacks)


def resume(
    run_dir: str | Path,
    *,
    max_steps: int | None = None,
    max_time: float | None = None,
    reporters: Iterable[Reporter] = (),
    callbacks: Iterable[LoopCallback] = (),
    allow_import: bool = False,
) -> RLOptimizer:
    """A run that ``prepare`` made, ready to go on exactly where its last commit was.

    max_steps, max_time: new limits, counted from the beginning of the run; those that it was made with hold otherwise.
    allow_import: let an environment id of the form module:Name import its module.

    Raises CheckpointError for what is no such run or has converged, ConfigError where no budget is left.
    """
    run = RunDirectory.open(FileSystem(), Path(run_dir))
    recipe = stored_recipe(run, allow_import=allow_import)
    recipe = dataclasses.replace(recipe, settings={**recipe.settings, **_limits(max_steps, max_time)})
    optimizer = _assembled(
        recipe, checkpoint_dir=run.path.parent, resume=run.path, reporters=reporters, callbacks=callbacks
    )
    _require_budget(run, LoopConfig(**recipe.settings))
    return optimizer


def plan_lines(optimizer: RLOptimizer, *hints: str) -> list[str]:
    """What a prepared run is going to do, and ``hints``, for people; lines of at most 98 characters."""
    plan, config = optimizer.plan, LoopConfig(**optimizer.plan["settings"])
    hidden = "-".join(str(size) for size in plan["details"]["hidden"])
    limits = {"max_steps": config.max_steps, "max_time": config.max_time}
    at_the_latest = [f"{name} {limit:g}" for name, limit in limits.items() if limit is not None]
    paragraphs = [
        f"{plan['environment']}   seed {plan['seed']}",
        f"PPO on PyTorch, CPU, 1 thread; dense {hidden} tanh networks; windows of {WINDOW_SIZE} steps",
        "  ".join(f"{name}={value:g}" for name, value in plan["hyperparams"].items()),
        f"stops after {config.dormant_threshold} scores in a row without a gain above the noise, or when every "
        "episode ends at the same, best return" + "".join(f"; at the latest at {limit}" for limit in at_the_latest),
        f"after an interruption: resumes at level {plan['resume']['level']}, {plan['resume']['why']}",
        *hints,
    ]
    lines = [line for text in paragraphs for line in textwrap.wrap(text, 91, break_long_words=False)]
    return [f"{'plan' if number == 0 else '':7s}{line}" for number, line in enumerate(lines)]


def choices(optimizer: RLOptimizer) -> dict[str, Any]:
    """The hyperparameters and settings of a prepared run that are not the defaults."""
    plan, defaults = optimizer.plan, {**PPO_SPACE.defaults, **dataclasses.asdict(LoopConfig())}
    values = {**plan["hyperparams"], **plan["settings"]}
    return {name: value for name, value in values.items() if value != defaults.get(name)}


def load(run_dir: str | Path, *, allow_import: bool = False) -> LoadedRun:
    """The best policy of a run that ``prepare`` made, in a fresh agent.

    Raises CheckpointError when ``run_dir`` is no run, holds no policy, or was made with networks of the user's own.
    """
    run = RunDirectory.open(FileSystem(), Path(run_dir))
    recipe = stored_recipe(run, allow_import=allow_import)
    pipeline = BatchPipeline(env_id=recipe.env_id, window_size=WINDOW_SIZE)
    agent = make_agent(pipeline, seed=0)
    registry = CheckpointRegistry(run.path)
    if registry.load_best(agent) is None:
        raise CheckpointError(run.path, "holds no policy: the run ended before anything was scored")
    return LoadedRun(agent, pipeline, registry, run.identity, recipe.seed)


def stored_recipe(run: RunDirectory, *, allow_import: bool = False) -> Recipe:
    """What run.json says that the run was made of: a file, which may say anything, so every entry is checked.

    Raises CheckpointError for a run of other networks, for impossible values, and for an environment id that would
    import a module unless that is allowed.
    """
    identity = run.identity
    details, settings, hyperparams = (identity.get(name) for name in ("details", "settings", "hyperparams"))
    env_id = details.get("env_id") if isinstance(details, dict) else None
    if not isinstance(env_id, str) or details != _details(env_id):
        remedy = "build it again and use CheckpointRegistry.load_best, or RLOptimizer(..., resume=...)"
        raise CheckpointError(run.path, f"was made with an agent of its own; {remedy}")
    if ":" in env_id and not allow_import:  # Gymnasium imports what stands before the colon
        raise CheckpointError(run.path, f"would import a module for its environment {env_id!r}, which is not allowed")
    if not isinstance(settings, dict) or not isinstance(hyperparams, dict):
        raise CheckpointError(run.path, "does not say which settings and hyperparameters it was made with")
    try:
        LoopConfig.from_settings(settings)
        return Recipe(env_id, checked_seed(identity.get("seed")), PPO_SPACE.checked(hyperparams), settings)
    except ConfigError as error:
        raise CheckpointError(run.path, f"was made with what cannot be: {error}") from error


# -- helpers -------------------------------------------------------------------------------------------------------


def _assembled(recipe: Recipe, **keywords: Any) -> RLOptimizer:
    """Pipeline, agent and loop, all from one root seed."""
    pipeline = BatchPipeline(env_id=recipe.env_id, window_size=WINDOW_SIZE)
    _use_one_thread()  # first: the number of threads shows in the last bits of orthogonal initial weights
    agent = make_agent(pipeline, seed=recipe.seed, **recipe.hyperparams)
    details = _details(recipe.env_id)
    return RLOptimizer(agent, pipeline, seed=recipe.seed, details=details, **recipe.settings, **keywords)


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


def _use_one_thread() -> None:
    from tensor_optix.algorithms.torch_networks import use_one_thread

    use_one_thread()


def _details(env_id: str) -> dict[str, Any]:
    """What is recorded with a run, so that ``load`` and ``resume`` can build its agent again."""
    return {"env_id": env_id, "algorithm": "ppo", "backend": "torch", "hidden": list(HIDDEN)}


def _dense_spaces(env: HasSpaces) -> tuple[int, int]:
    """Sizes of a flat observation vector and of a discrete action space; ConfigError for anything else."""
    observations, actions = env.observation_space, env.action_space
    if not isinstance(actions, gym.spaces.Discrete):
        raise ConfigError(f"the built-in agent is PPO for Discrete actions so far; this environment has {actions}")
    if not isinstance(observations, gym.spaces.Box) or len(observations.shape) != 1:
        raise ConfigError(f"built-in networks take flat observation vectors so far; this one has {observations}")
    return int(observations.shape[0]), int(actions.n)


def _sorted_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(hyperparameters, loop settings) of ``settings``, with text turned into values."""
    loop_names = {field.name for field in dataclasses.fields(LoopConfig)}
    hyperparams: dict[str, Any] = {}
    loop_settings: dict[str, Any] = {}
    for name, value in settings.items():
        target = hyperparams if name in PPO_SPACE else loop_settings if name in loop_names else None
        if target is None:
            hint = nearest(name, [*PPO_SPACE, *loop_names]) or f" Hyperparameters: {', '.join(PPO_SPACE)}."
            raise ConfigError(f"unknown setting {name!r}.{hint}")
        target[name] = _value(value) if isinstance(value, str) else value
    return hyperparams, loop_settings


def _value(text: str) -> Any:
    """A whole number, a number, true, false or none as people write them; any other text is itself."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, got {value!r}.{nearest(value, known)}")
