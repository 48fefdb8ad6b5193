"""How do an environment, an agent and a loop become a run, all from one root seed?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import CheckpointError
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


def start_with(agent: NetworkAgent, run_dir: Path) -> None:
    """Give ``agent`` the weights of the best policy of the run at ``run_dir``; its hyperparameters stay its own."""
    hyperparams = HyperparamSet(dict(agent.get_hyperparams().params))
    if CheckpointRegistry(run_dir).load_best(agent) is None:
        raise CheckpointError(run_dir, "holds no policy to start from")
    agent.set_hyperparams(hyperparams)
