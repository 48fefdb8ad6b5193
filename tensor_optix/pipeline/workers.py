"""How does an environment run in a process of its own, and what happens when that hangs, dies or raises?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

import gymnasium as gym

from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import ConfigError, EnvWorkerDied, EnvWorkerHung, EnvWorkerRaised
from tensor_optix.pipeline.crew import Crew
from tensor_optix.pipeline.environments import Env, EnvSource, StandIn
from tensor_optix.pipeline.lane import Lane
from tensor_optix.pipeline.worker_start import started

logger = logging.getLogger(__name__)

STEP_TIMEOUT_SECONDS = 60.0
START_TIMEOUT_SECONDS = 60.0
"""Importing libraries and building an environment may take longer than any step."""
CLOSE_TIMEOUT_SECONDS = 1.0
"""So long an environment may take to close by itself; then its process is ended."""

class WorkerEnv(StandIn):
    """An environment that lives in another process. A call that is begun goes on while others are begun.

    step_timeout: seconds that a reset or a step may take (None: for ever). index: named in errors.
    Whatever goes wrong surfaces when the result is asked for: EnvWorkerHung, EnvWorkerDied or EnvWorkerRaised.
    """

    def __init__(self, factory: Callable[[], Any], *, index: int = 0, step_timeout: float | None = None) -> None:
        self.index = index
        self._timeout = step_timeout
        self._requests = 0
        self._begun_at = time.monotonic()
        self._pending: str | None = "start"
        self._facts: dict[str, Any] | None = None
        self._connection, self._process = started(factory, index)

    @property
    def facts(self) -> dict[str, Any]:
        """Spaces, name and step limit; waits until the environment is built. Raises EnvError."""
        if self._facts is None:
            limit = START_TIMEOUT_SECONDS
            self._facts = self._result(limit if self._timeout is None else max(limit, self._timeout))
        return self._facts

    @property
    def name(self) -> str:  # type: ignore[override]
        """What people call the environment."""
        return str(self.facts["name"])

    @property
    def max_episode_steps(self) -> int | None:  # type: ignore[override]
        """Its step limit, where one is known."""
        limit: int | None = self.facts["max_episode_steps"]
        return limit

    @property
    def observation_space(self) -> gym.Space[Any]:  # type: ignore[override]
        return self.facts["observation_space"]  # type: ignore[no-any-return]

    @property
    def action_space(self) -> gym.Space[Any]:  # type: ignore[override]
        return self.facts["action_space"]  # type: ignore[no-any-return]

    def begin(self, method: str, argument: Any) -> None:
        """Set "reset" (with a seed) or "step" (with an action) going.

        Where an interrupt came between, the result of what was begun before is nobody's any more: it has a lower
        number and is passed over.
        """
        self._requests += 1
        self._pending, self._begun_at = method, time.monotonic()
        try:
            self._connection.send((self._requests, method, argument))
        except (BrokenPipeError, ConnectionResetError):
            logger.debug("environment %d has gone; that is told when its result is asked for", self.index)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if self._pending != "reset":
            self.begin("reset", seed)
        return self._result(self._timeout)

    def step(self, action: Any) -> Any:
        if self._pending != "step":
            self.begin("step", action)
        return self._result(self._timeout)

    def begin_close(self) -> None:
        """Ask the environment to close, unless it is busy."""
        if self._pending is None and self._process.is_alive():
            self.begin("close", None)

    def close(self) -> None:
        """Always returns, within seconds: a process that does not end by itself is ended."""
        self.begin_close()
        if self._pending == "close":
            self._process.join(max(0.0, self._begun_at + CLOSE_TIMEOUT_SECONDS - time.monotonic()))
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(CLOSE_TIMEOUT_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(CLOSE_TIMEOUT_SECONDS)
        self._connection.close()

    def _result(self, timeout: float | None) -> Any:
        method, self._pending = self._pending, None
        kind, result = self._answer(method or "call", timeout)
        if kind == "done":
            return result
        name, message, trace = result
        error = EnvWorkerRaised(f"{name}: {message}", env_index=self.index)
        error.add_note(trace)
        raise error

    def _answer(self, method: str, timeout: float | None) -> tuple[str, Any]:
        deadline = None if timeout is None else self._begun_at + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = wait([self._connection, self._process.sentinel], left)
            if not ready:
                self._pending = method  # it is still at it: close() will not wait for it
                raise EnvWorkerHung(f"no answer to {method} within {timeout:g} seconds", env_index=self.index)
            if self._connection not in ready:
                raise self._death()
            try:
                number, kind, result = self._connection.recv()
            except (EOFError, ConnectionResetError):
                raise self._death() from None
            if number == self._requests:
                return kind, result

    def _death(self) -> EnvWorkerDied:
        self._process.join(CLOSE_TIMEOUT_SECONDS)
        code = self._process.exitcode
        how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return EnvWorkerDied(f"its process {how}", env_index=self.index, exitcode=code)


class WorkerEnvs(EnvSource):
    """Environments of a factory, each in a process of its own."""

    def __init__(
        self, factory: Any, *, index: int, step_timeout: float | None, observations: str = "auto"
    ) -> None:
        super().__init__(observations)
        if not callable(factory) or isinstance(factory, gym.Env):
            raise ConfigError(f"async_envs=True needs a factory for every environment, got {factory!r}")
        self._factory, self._index, self._step_timeout = factory, index, step_timeout

    def training_env(self) -> Env:
        return WorkerEnv(self._factory, index=self._index, step_timeout=self._step_timeout)

    def separate_env(self) -> Env | None:
        return self.training_env()


class WorkerCrew(Crew):
    """Environments in processes of their own: all of them work while the first one is waited for."""

    def begin_resets(self, lanes: Sequence[Lane], streams: RandomStreams) -> None:
        self.prepare(lanes)
        for lane in lanes:
            if lane.is_ready:
                _worker_of(lane).begin("reset", lane.next_seed(streams))

    def begin_steps(self, lanes: Sequence[Lane], actions: Sequence[Any]) -> None:
        for lane, action in zip(lanes, actions, strict=True):
            _worker_of(lane).begin("step", action)

    def release(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            if lane.env is not None:
                _worker_of(lane).begin_close()
        super().release(lanes)


def _worker_of(lane: Lane) -> WorkerEnv:
    env = lane.prepare()
    assert isinstance(env, WorkerEnv), f"{env} is not in a process of its own"
    return env
