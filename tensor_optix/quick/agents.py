"""make_agent: an agent that fits an environment, with networks of its own and defaults that train."""

from __future__ import annotations

import logging
from typing import Any

from tensor_optix.algorithms.designs import AgentDesign, Body, networks_for
from tensor_optix.algorithms.network_agent import NetworkAgent
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.normalizers import ObsNormalizer, RewardNormalizer
from tensor_optix.core.rng import RandomStreams, checked_seed, fresh_seed
from tensor_optix.quick.backends import choose_backend, networks_module, preferred_device
from tensor_optix.quick.build import Build
from tensor_optix.quick.defaults import NAMES, choose_algorithm, defaults_for
from tensor_optix.quick.spaces import HasSpaces, Task

logger = logging.getLogger(__name__)

NETWORKS = ("actor", "critic", "critic1", "critic2", "q_network")
OF_THE_AGENT = ("hidden", "activation", "normalize_observations", "normalize_rewards")


def make_agent(
    env: HasSpaces,
    algorithm: str = "auto",
    backend: str = "auto",
    *,
    seed: int | None = None,
    device: str = "auto",
    compile: bool = False,
    **overrides: Any,
) -> BaseAgent:
    """An agent that fits the spaces of ``env``, with networks of its own and defaults that train.

    env: an environment (not its id), or a pipeline. Observations are flat vectors or images of bytes.
    algorithm: "auto" (PPO for discrete actions, SAC for continuous ones), "ppo", "dqn" or "sac".
    backend: "auto" (the first of torch, jax, tf that is installed) or one of them.
    seed: of the initial weights (default: drawn). device: "auto" (the CPU for dense networks), "cpu", "cuda", ...
    compile: PyTorch's updates as one compiled program (JAX and TensorFlow compile theirs in any case): about ten
    seconds at first, then two to three times as fast; without a C++ compiler as ever, said once.
    overrides: hyperparameters by name, and hidden=(64, 64), activation, normalize_observations, normalize_rewards.

    Raises ConfigError for spaces that no built-in agent handles and for unknown names, MissingDependency without
    the backend.
    """
    task = Task.of(env)
    chosen = choose_algorithm(algorithm, task).value
    defaults = defaults_for(chosen, is_image=task.is_image, is_discrete=task.is_discrete)
    build = Build.from_defaults("given", chosen, choose_backend(backend).value, defaults, frame_stack=1,
                                is_image=task.is_image, is_discrete=task.is_discrete)  # fmt: skip
    build = build.changed({name: overrides.pop(name) for name in OF_THE_AGENT if name in overrides})
    return agent_for(
        build, task, overrides, seed=fresh_seed() if seed is None else checked_seed(seed), device=device,
        compile=compile,
    )


def agent_for(
    build: Build, task: Task, hyperparams: dict[str, Any], *, seed: int, device: str = "auto", compile: bool = False
) -> NetworkAgent:
    """The agent of ``build`` for ``task``. hyperparams: those that differ from its defaults."""
    given = build.space.checked(hyperparams, owner=NAMES[build.algorithm])
    values = {**build.default_hyperparams, **given}
    streams = RandomStreams(seed)
    seeds = {name: streams.counter_seed(f"initial {name}") for name in NETWORKS}
    body = Body(task.observation_shape, task.is_image, build.hidden, build.activation, seeds)
    design = AgentDesign(
        build.kind, networks_for(build.kind, body, task.n_actions), task.n_actions, values, _device(device, task),
        ObsNormalizer(task.observation_shape) if build.normalize_observations else None,
        RewardNormalizer(values["gamma"]) if build.normalize_rewards else None, compile,
    )  # fmt: skip
    agent: NetworkAgent = networks_module(build.backend).agent_of(design)
    return agent


def _device(wanted: str, task: Task) -> str:
    if wanted != "auto":
        return wanted
    device = preferred_device(is_image=task.is_image)
    logger.info("device %s: %s", device.value, device.why)
    return device.value
