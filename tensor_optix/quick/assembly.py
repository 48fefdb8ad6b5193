"""How do an environment, an agent and a loop become a run, all from one root seed?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import CheckpointError
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.env_pipeline import EnvPipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.quick.agents import agent_for
from tensor_optix.quick.backends import networks_module
from tensor_optix.quick.build import Build
from tensor_optix.quick.environments import env_factory
from tensor_optix.quick.spaces import Task


@dataclass(frozen=True)
class Recipe:
    """What a run is made of. hyperparams: those that differ from the build's; settings: fields of LoopConfig."""

    build: Build
    seed: int
    hyperparams: dict[str, Any]
    settings: dict[str, Any]


def pipeline_for(build: Build) -> EnvPipeline:
    """Windows from ``n_envs`` environments, and evaluation on others like them."""
    factory = env_factory(build.env_id, build.frame_stack)
    if build.n_envs == 1:
        return BatchPipeline(factory, window_size=build.window_size)
    return VectorBatchPipeline(factory, n_envs=build.n_envs, window_size=build.window_size)


def val_pipeline_for(recipe: Recipe) -> EnvPipeline | None:
    """One environment for validation, whose seeds training never uses; None where validation is off."""
    build = recipe.build
    if not recipe.settings.get("val_episodes"):
        return None
    return BatchPipeline(env_factory(build.env_id, build.frame_stack), window_size=build.window_size)


def parts_of(recipe: Recipe, *, init_from: Path | None = None) -> tuple[NetworkAgent, EnvPipeline]:
    """The agent and where it acts. The backend computes with one thread from now on: these networks are small.

    init_from: a run whose best policy the agent starts with. Raises CheckpointError, ArchitectureMismatch.
    """
    pipeline = pipeline_for(recipe.build)
    networks_module(recipe.build.backend).use_one_thread()  # its number shows in the last bits of sums
    agent = agent_for(recipe.build, Task.of(pipeline), recipe.hyperparams, seed=recipe.seed)
    if init_from is not None:
        start_with(agent, init_from)
    return agent, pipeline


def optimizer_of(
    recipe: Recipe, *, init_from: Path | None = None, **keywords: Any
) -> tuple[RLOptimizer, EnvPipeline]:
    """The run of this recipe, and a pipeline like the one that it acts in. keywords: further ones of RLOptimizer."""
    keywords = {"seed": recipe.seed, "val_pipeline": val_pipeline_for(recipe), **recipe.settings, **keywords}
    if recipe.build.population == 1:
        agent, pipeline = parts_of(recipe, init_from=init_from)
        return RLOptimizer(agent, pipeline, **keywords), pipeline
    pipelines = partial(pipeline_for, recipe.build)
    optimizer = RLOptimizer(
        agent_factory=MemberFactory(recipe, init_from), pipeline_factory=pipelines,
        population=recipe.build.population, **keywords,
    )  # fmt: skip
    optimizer.build()  # so that its plan and its directory are known
    return optimizer, pipelines()


@dataclass
class MemberFactory:
    """Makes the members of a population, each with first weights of its own."""

    recipe: Recipe
    init_from: Path | None = None
    n_made: int = 0

    def __call__(self, params: dict[str, Any]) -> NetworkAgent:
        """The next member, with these hyperparameters besides the recipe's."""
        seed = RandomStreams(self.recipe.seed).counter_seed("first weights", self.n_made)
        self.n_made += 1
        recipe = replace(self.recipe, seed=seed, hyperparams={**self.recipe.hyperparams, **params})
        return parts_of(recipe, init_from=self.init_from)[0]


def start_with(agent: NetworkAgent, run_dir: Path) -> None:
    """Give ``agent`` the weights of the best policy of the run at ``run_dir``; its hyperparameters stay its own."""
    if CheckpointRegistry(run_dir).load_best(agent, with_hyperparams=False) is None:
        raise CheckpointError(run_dir, "holds no policy to start from")
