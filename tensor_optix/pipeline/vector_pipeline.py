"""How are windows of one size collected from several environments at once?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from tensor_optix.errors import ConfigError
from tensor_optix.pipeline.crew import Crew
from tensor_optix.pipeline.env_pipeline import EnvPipeline, checked_timeout, checked_window_size
from tensor_optix.pipeline.environments import Env, EnvSource, env_source, make_env, require_registered
from tensor_optix.pipeline.step_alarm import StepAlarm
from tensor_optix.pipeline.vector_modes import crew_for
from tensor_optix.pipeline.vector_slots import Slots
from tensor_optix.pipeline.workers import STEP_TIMEOUT_SECONDS, WorkerCrew, WorkerEnvs


class VectorBatchPipeline(EnvPipeline):
    """Windows of ``window_size`` env steps of each of several environments, all rows of the first one first.

    One ``act_batch`` chooses the actions of all environments. ``segments`` of a window lists the rows of each;
    env episodes are counted for each by itself, and go on from one window into the next.

    env_fns: factories, one for each environment (lambdas too); or one factory with ``n_envs``; or environments; or
    a ready vector environment (gymnasium.make_vec gives one), which stays the caller's to close. env_id: a registered
    id, with ``n_envs``. Resets of environments built here are seeded, each from the run's seed, its index and its
    env episode. What factories or an id gave is built anew when it fails (at most three times without an env episode
    that ends by itself in between, and ten times within an hour); the rows of the other environments stay what they
    would have been.

    A vector environment resets itself where it says so in its metadata (gymnasium.vector.AutoresetMode). A step that
    is only the reset of an environment (NEXT_STEP) gives no row, so that windows are shorter by as many.

    async_envs: every environment in a process of its own: worth it where a step takes longer than about a
    millisecond. A process that dies, raises, or does not answer within ``step_timeout`` seconds is replaced in the
    same way, and counted ("worker_died", "worker_raised", "worker_hung"). No process outlives this one. (A vector
    environment that was handed over looks after its processes itself.)

    step_timeout: "auto": 60 seconds with async_envs, and no limit otherwise; a number of seconds; or None for no
    limit. What it can do for environments of this process, and for a vector environment, BatchPipeline says.

    n_steps, on_nonfinite, observations and health: as for BatchPipeline.
    """

    def __init__(
        self,
        env_fns: Sequence[Callable[[], Env] | Env] | Callable[[], Env] | VectorEnv[Any, Any, Any] | None = None,
        agent: Any = None,
        window_size: int | None = None,
        async_envs: bool = False,
        *,
        env_id: str | None = None,
        n_envs: int | None = None,
        n_steps: int | None = None,
        step_timeout: float | str | None = "auto",
        on_nonfinite: str = "drop_episode",
        observations: str = "auto",
    ) -> None:
        size = checked_window_size(window_size, n_steps, default=256)
        if step_timeout == "auto":
            step_timeout = STEP_TIMEOUT_SECONDS if async_envs else None
        timeout = checked_timeout(step_timeout)
        alarm = StepAlarm(None if async_envs else timeout)
        crew: Crew
        sources: Sequence[EnvSource]
        if isinstance(env_fns, VectorEnv):
            crew, sources = _ready(env_fns, env_id, n_envs, async_envs, observations, alarm)
        else:
            factories = _factories(env_fns, env_id, n_envs)
            crew, sources = _apart(factories, timeout, observations) if async_envs else (
                Crew(), [env_source(factory, None, observations=observations) for factory in factories]
            )  # fmt: skip
        super().__init__(sources, crew, agent, size, on_nonfinite, alarm)

    @property
    def fingerprint(self) -> dict[str, str]:
        return {**super().fingerprint, "n_envs": str(self.n_envs)}

    @property
    def continues_exactly(self) -> bool:
        return self._crew.continues_exactly


def _ready(
    vector: VectorEnv[Any, Any, Any],
    env_id: str | None,
    n_envs: int | None,
    async_envs: bool,
    observations: str,
    alarm: StepAlarm,
) -> tuple[Crew, list[EnvSource]]:
    """A vector environment seen as its parts. Raises ConfigError."""
    if env_id is not None or async_envs or n_envs not in (None, vector.num_envs):
        raise ConfigError(
            f"{type(vector).__name__} has {vector.num_envs} environments and runs them in its own way: "
            "give it without env_id, n_envs and async_envs"
        )
    crew = crew_for(vector, alarm)
    return crew, [Slots(slot, vector, observations) for slot in crew.slots]


def _apart(
    factories: Sequence[Any], step_timeout: float | None, observations: str
) -> tuple[Crew, list[EnvSource]]:
    """Every environment in a process of its own. Raises ConfigError."""
    return WorkerCrew(), [
        WorkerEnvs(factory, index=index, step_timeout=step_timeout, observations=observations)
        for index, factory in enumerate(factories)
    ]


def _factories(env_fns: Any, env_id: str | None, n_envs: int | None) -> list[Any]:
    """One for each environment. Raises ConfigError."""
    if (env_fns is None) == (env_id is None):
        raise ConfigError("give either env_fns (factories, or a vector environment) or env_id, and not both")
    if n_envs is not None and (isinstance(n_envs, bool) or not isinstance(n_envs, int | np.integer) or n_envs < 1):
        raise ConfigError(f"n_envs must be a whole number of at least 1, got {n_envs!r}")
    if isinstance(env_fns, str):
        raise ConfigError(f"env_fns takes factories; name an environment by env_id={env_fns!r} and n_envs")
    if env_id is not None:
        require_registered(env_id)
        env_fns = partial(make_env, env_id)
    if callable(env_fns) and not isinstance(env_fns, gym.Env):
        if n_envs is None:
            raise ConfigError("how many environments? give n_envs with env_id or with a single factory")
        return [env_fns] * int(n_envs)
    return _listed(env_fns, n_envs)


def _listed(env_fns: Any, n_envs: int | None) -> list[Any]:
    try:
        listed = list(env_fns)
    except TypeError:
        raise ConfigError(f"env_fns must be a list of factories or a vector environment, got {env_fns!r}") from None
    if not listed or n_envs not in (None, len(listed)):
        raise ConfigError(f"env_fns must give one factory for each environment, got {len(listed)} (n_envs={n_envs})")
    envs = [item for item in listed if isinstance(item, gym.Env)]
    if len({id(env) for env in envs}) < len(envs):
        raise ConfigError("env_fns holds one environment twice: give factories, or an object for each")
    return listed
