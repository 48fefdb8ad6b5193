"""Where does an environment come from, and can a second one be had?"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.error import DependencyNotInstalled, DeprecatedEnv, Error, UnregisteredEnv
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward, RecordVideo

from tensor_optix._about import install_hint
from tensor_optix.errors import ConfigError, MissingDependency, nearest
from tensor_optix.pipeline.observations import checked_mode, observed

logger = logging.getLogger(__name__)

Env = gym.Env[Any, Any]

EXTRA_OF_MODULE = {
    "gymnasium.envs.box2d": "box2d",
    "gymnasium.envs.classic_control": "classic",
    "gymnasium.envs.mujoco": "mujoco",
    "ale_py": "atari",
}
LIBRARY_OF_EXTRA = {"box2d": "Box2D", "classic": "pygame", "mujoco": "MuJoCo", "atari": "the Atari emulator"}
UNCLONABLE_WRAPPERS = (NormalizeObservation, NormalizeReward, RecordVideo)
"""Wrappers with running statistics or files of their own: a clone would show the agent other numbers, or overwrite."""


class StandIn(gym.Env[Any, Any]):
    """Stands in for an environment that is somewhere else, and has no spec of its own."""

    name: str
    max_episode_steps: int | None


class EnvSource(ABC):
    """Gives the training environment and, where possible, another one like it.

    observations: how ``observed`` hands them on ("auto", "flatten" or "raw").
    """

    is_rebuildable = True

    def __init__(self, observations: str = "auto") -> None:
        self._observations = checked_mode(observations)

    def observed(self, env: Env) -> Env:
        """``env``, with its observations as they are wanted. Raises ConfigError."""
        return observed(env, self._observations)

    @property
    def handed_over(self) -> Env | VectorEnv[Any, Any, Any] | None:
        """The caller's own environment object, single or vector, where windows come from one."""
        return None

    @abstractmethod
    def training_env(self) -> Env:
        """The environment to collect from."""

    @abstractmethod
    def separate_env(self) -> Env | None:
        """An environment like the training one that shares nothing with it; None where none can be had."""

    def release(self, env: Env) -> None:
        """Close an environment that was built here."""
        try:
            env.close()
        except Exception as error:  # noqa: BLE001 - whatever it is: the environment is given up, and this is told
            logger.warning("%s failed to close: %s: %s", env_name(env), type(error).__name__, error)


class BuiltEnvs(EnvSource):
    """Environments of a factory: as many as are needed, closed by whoever asked for them."""

    def __init__(self, factory: Callable[[], Any], observations: str = "auto") -> None:
        super().__init__(observations)
        self._factory = factory

    def training_env(self) -> Env:
        return checked_env(self._factory())

    def separate_env(self) -> Env | None:
        return self.training_env()


class HandedOverEnv(EnvSource):
    """One environment that belongs to the caller: never closed here, cloned through its spec."""

    is_rebuildable = False

    def __init__(self, env: Env, observations: str = "auto") -> None:
        super().__init__(observations)
        self._env = checked_env(env)
        self.observed(env)  # what cannot be read is refused at once

    @property
    def handed_over(self) -> Env:
        return self._env

    def training_env(self) -> Env:
        return self._env

    def separate_env(self) -> Env | None:
        if not _has_faithful_spec(self._env):
            return None
        try:
            clone = gym.make(self._env.spec or "", **_without_window(self._env))
        except (Error, ValueError, TypeError, AttributeError, ImportError) as error:
            logger.info("%s cannot be cloned from its spec: %s", env_name(self._env), error)
            return None
        if (clone.observation_space, clone.action_space) == (self._env.observation_space, self._env.action_space):
            return clone
        clone.close()
        return None


def env_source(env: Any, env_id: str | None, *, observations: str = "auto") -> EnvSource:
    """The source that ``env`` (an environment or a factory) or ``env_id`` stands for. Raises ConfigError."""
    if (env is None) == (env_id is None):
        raise ConfigError("give either env (an environment or a factory without arguments) or env_id, and not both")
    if env_id is not None:
        require_registered(env_id)
        return BuiltEnvs(partial(make_env, env_id), observations)
    if isinstance(env, str):
        raise ConfigError(f"env takes an environment or a factory; name one by env_id={env!r}")
    if callable(env) and not isinstance(env, gym.Env):
        return BuiltEnvs(env, observations)
    return HandedOverEnv(env, observations)


def checked_env(env: Any) -> Env:
    """``env``, when one environment can be stepped through it. Raises ConfigError."""
    if isinstance(env, VectorEnv):
        raise ConfigError(
            f"{type(env).__name__} is a vector environment, and this takes single ones: give the vector environment "
            "itself to VectorBatchPipeline(env_fns=...)"
        )
    if not isinstance(env, gym.Env):
        raise ConfigError(f"env must be a gymnasium.Env or a factory without arguments that gives one, got {env!r}")
    return env


def env_name(env: Env) -> str:
    """What people call ``env``: its registered id, else its class."""
    bare = env.unwrapped
    if isinstance(bare, StandIn):
        return bare.name
    return env.spec.id if env.spec is not None else type(env.unwrapped).__name__


def step_limit(env: Env) -> int | None:
    """After so many steps an env episode is truncated, where that is known."""
    bare = env.unwrapped
    if isinstance(bare, StandIn):
        return bare.max_episode_steps
    return env.spec.max_episode_steps if env.spec is not None else None


def require_registered(env_id: str) -> None:
    """Raise ConfigError, with the nearest registered id, when Gymnasium knows no ``env_id``."""
    if ":" in env_id:  # "module:id": the import that makes it known is left to ``gym.make``
        module = env_id.partition(":")[0].partition(".")[0]
        if not module or importlib.util.find_spec(module) is None:
            raise ConfigError(f"there is no environment {env_id!r}: no module named {module!r}")
        return
    if env_id.startswith("ALE/"):
        _register_atari(env_id)
    try:
        gym.spec(env_id)
    except DeprecatedEnv as error:
        raise ConfigError(f"the environment {env_id!r} is gone.{_newest_version(env_id)}") from error
    except UnregisteredEnv as error:
        raise ConfigError(f"there is no environment {env_id!r}.{nearest(env_id, gym.registry)}") from error
    except (Error, ModuleNotFoundError) as error:
        raise ConfigError(f"there is no environment {env_id!r}: {error}") from error


def make_env(env_id: str) -> Env:
    """``gym.make(env_id)``. Raises MissingDependency with the install line, or ConfigError."""
    try:
        return gym.make(env_id)
    except DeprecatedEnv as error:
        raise ConfigError(f"the environment {env_id!r} is gone.{_newest_version(env_id)}") from error
    except (DependencyNotInstalled, ImportError) as error:
        raise MissingDependency(_missing_text(env_id, error)) from error


def _register_atari(env_id: str) -> None:
    try:
        gym.register_envs(importlib.import_module("ale_py"))
    except ImportError as error:
        raise MissingDependency(f"{env_id} needs the Atari emulator: {install_hint('atari')}") from error


def _missing_text(env_id: str, error: Exception) -> str:
    module = str(gym.spec(env_id).entry_point)
    extra = next((extra for prefix, extra in EXTRA_OF_MODULE.items() if module.startswith(prefix)), None)
    if extra is None:
        return f"{env_id} needs a library that is not installed: {error}"
    return f"{env_id} needs {LIBRARY_OF_EXTRA[extra]}, which is not installed: {install_hint(extra)}"


def _newest_version(env_id: str) -> str:
    name = env_id.rpartition("-v")[0]
    versions = [spec for spec in gym.registry.values() if spec.id.rpartition("-v")[0] == name]
    newest = max(versions, key=lambda spec: spec.version or 0, default=None)
    return f" Use {newest.id!r} instead." if newest else nearest(env_id, gym.registry)


def _has_faithful_spec(env: Env) -> bool:
    if env.spec is None:
        return False
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, UNCLONABLE_WRAPPERS):
            return False
        layer = layer.env
    return True


def _without_window(env: Env) -> dict[str, Any]:
    """A clone of an environment that people watch is not watched."""
    return {"render_mode": None} if env.render_mode == "human" else {}
