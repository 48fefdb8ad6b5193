"""What is going to be done with an environment, and why? A value that people can read and that builds the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.reporting import Reporter
from tensor_optix.core.rng import checked_seed, fresh_seed
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.env_pipeline import EnvPipeline
from tensor_optix.quick.assembly import Recipe, optimizer_of, parts_of, val_pipeline_for
from tensor_optix.quick.backends import choose_backend
from tensor_optix.quick.build import Build, checked_frames, default_frames
from tensor_optix.quick.defaults import NAMES, VALIDATION, choose_algorithm, defaults_for
from tensor_optix.quick.environments import env_factory
from tensor_optix.quick.plan_text import plan_text
from tensor_optix.quick.runs import stored_recipe
from tensor_optix.quick.settings import sorted_settings, value_of
from tensor_optix.quick.spaces import Task
from tensor_optix.storage import FileSystem, RunDirectory

FROM_ORIGIN = "as in the run that it starts from"


@dataclass(frozen=True)
class Plan:
    """recipe: what ``build`` makes a run of. facts: about the environment. reasons: by the name of what was chosen."""

    recipe: Recipe
    facts: dict[str, Any]
    reasons: dict[str, str] = field(default_factory=dict)
    out: Path = Path("runs")
    init_from: Path | None = None

    def build(
        self,
        *,
        reporters: Iterable[Reporter] = (),
        callbacks: Iterable[LoopCallback] = (),
        verbose: bool = False,
    ) -> RLOptimizer:
        """The RLOptimizer that carries the plan out; ``run()`` starts it."""
        return self.optimizer(reporters=reporters, callbacks=callbacks, verbose=verbose)[0]

    def optimizer(self, **keywords: Any) -> tuple[RLOptimizer, EnvPipeline]:
        """What ``build`` gives, and a pipeline like the one that it acts in. keywords: further ones of RLOptimizer."""
        return optimizer_of(
            self.recipe, init_from=self.init_from, checkpoint_dir=self.out, details=self._details, **keywords
        )

    def parts(self) -> tuple[NetworkAgent, EnvPipeline]:
        """A new agent and a new pipeline."""
        return parts_of(self.recipe, init_from=self.init_from)

    def over(self, agent: NetworkAgent, pipeline: EnvPipeline, **keywords: Any) -> RLOptimizer:
        """The RLOptimizer over such parts. keywords: further ones of RLOptimizer."""
        return RLOptimizer(
            agent, pipeline, val_pipeline=val_pipeline_for(self.recipe), seed=self.seed, checkpoint_dir=self.out,
            details=self._details, **self.recipe.settings, **keywords,
        )  # fmt: skip

    @property
    def _details(self) -> dict[str, Any]:
        return {**self.recipe.build.details, "facts": self.facts, "reasons": self.reasons}

    @property
    def seed(self) -> int:
        """The root seed of the run."""
        return self.recipe.seed

    def __str__(self) -> str:
        settings = LoopConfig(**self.recipe.settings)
        return "\n".join(plan_text(self.recipe, settings, self.facts, self.reasons))


def plan(
    env_id: str,
    algorithm: str = "auto",
    backend: str = "auto",
    *,
    seed: int | None = None,
    out: str | Path | None = None,
    init_from: str | Path | None = None,
    **settings: Any,
) -> Plan:
    """What ``train`` would do with ``env_id``.

    algorithm, backend: as for ``make_agent``. seed: root of all randomness (default: drawn).
    out: the directory that gets the run's own one (default ``runs/<env id>``).
    init_from: a run whose best policy training starts from; its algorithm, networks and normalisation are taken over.
    settings: hyperparameters, fields of LoopConfig (``max_steps``, ``max_time``, ...) and of the build (``hidden``,
    ``n_envs``, ``window_size``, ``frame_stack``, ``normalize_observations``, ``normalize_rewards``, ``population``) by
    name. Values may be text, as typed on a command line.

    Raises ConfigError for unknown ids, names and values, each with the nearest known one.
    """
    origin = None if init_from is None else stored_recipe(RunDirectory.open(FileSystem(), Path(init_from)))
    wished = settings.get("frame_stack", origin.build.frame_stack if origin else default_frames(env_id))
    frames = checked_frames(value_of(wished) if isinstance(wished, str) else wished)
    task, facts = _looked_at(env_id, frames)
    build, reasons = _proposed(env_id, algorithm, backend, task, frames, origin)
    wanted = sorted_settings(settings, build.space)
    recipe = Recipe(
        build.changed(wanted.build), fresh_seed() if seed is None else checked_seed(seed), wanted.hyperparams,
        {**VALIDATION, **wanted.loop},
    )  # fmt: skip
    build.space.checked(wanted.hyperparams, owner=NAMES[build.algorithm])
    LoopConfig.from_settings(recipe.settings)
    parent = Path("runs") / env_id.replace("/", "-").replace(":", "-") if out is None else Path(out)
    reasons |= {name: "asked for" for name in (*wanted.build, *wanted.hyperparams, *wanted.loop)}
    return Plan(recipe, facts, reasons, parent, Path(init_from) if init_from is not None else None)


# -- helpers -------------------------------------------------------------------------------------------------------


def _looked_at(env_id: str, frame_stack: int) -> tuple[Task, dict[str, Any]]:
    env = env_factory(env_id, frame_stack)()
    try:
        spec = env.spec
        facts = {
            "spaces": f"{_space(env.observation_space)} -> {_space(env.action_space)}",
            "max_episode_steps": spec.max_episode_steps if spec else None,
            "reward_threshold": spec.reward_threshold if spec else None,
        }
        return Task.of(env), facts
    finally:
        env.close()


def _proposed(
    env_id: str, algorithm: str, backend: str, task: Task, frames: int, origin: Recipe | None
) -> tuple[Build, dict[str, str]]:
    """The build before the user's settings, and why it is so."""
    if origin is not None and algorithm == "auto":
        algorithm = origin.build.algorithm
    if origin is not None and backend == "auto":
        backend = origin.build.backend
    chosen, computing = choose_algorithm(algorithm, task), choose_backend(backend)
    defaults = defaults_for(chosen.value, is_image=task.is_image, is_discrete=task.is_discrete)
    build = Build.from_defaults(env_id, chosen.value, computing.value, defaults, frame_stack=frames,
                                is_image=task.is_image, is_discrete=task.is_discrete)  # fmt: skip
    if origin is not None:
        taken = ("hidden", "activation", "normalize_observations", "normalize_rewards")
        build = build.changed({name: getattr(origin.build, name) for name in taken})
        return build, {"algorithm": FROM_ORIGIN, "backend": FROM_ORIGIN}
    return build, {"algorithm": chosen.why, "backend": computing.why}


def _space(space: Any) -> str:
    shape = "x".join(map(str, space.shape)) if space.shape else str(getattr(space, "n", ""))
    return f"{type(space).__name__}({shape})"
