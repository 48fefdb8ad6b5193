"""How is a call of an environment ended that takes too long, when it runs in this very process?"""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gymnasium as gym

from tensor_optix.errors import ConfigError, EnvHangs

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

STDERR = 2


class StepAlarm:
    """Interrupts resets and steps after ``seconds`` (None: never), and shows what all threads were doing.

    It works by the signal SIGALRM, so only in the main thread, not on Windows, and only where the environment comes
    back to Python: code in C that never does is shown on stderr, and cannot be ended by anybody. (A process of its
    own can: ``async_envs=True``.) The signal and its timer are taken while a window is collected, and then given back.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and sys.platform == "win32":
            raise ConfigError("step_timeout needs a process for each environment on Windows: use async_envs=True")
        self._seconds = seconds
        self._is_armed = False
        self._is_told = False
        self._calling: str | None = None

    def watching(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        """``env``, with every reset and step under this alarm."""
        return env if self._seconds is None else _Watched(env, self)

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Environments are called from here on."""
        if self._seconds is None or sys.platform == "win32":
            yield
            return
        if threading.current_thread() is not threading.main_thread():
            if not self._is_told:
                logger.warning("step_timeout=%g has no effect: only the main thread can be interrupted", self._seconds)
            self._is_told = True
            yield
            return
        timer, begun = signal.setitimer(signal.ITIMER_REAL, 0.0), time.monotonic()
        before = signal.signal(signal.SIGALRM, self._ring)
        faulthandler.register(signal.SIGALRM, file=STDERR, all_threads=True, chain=True)
        self._is_armed = True
        try:
            yield
        finally:
            self._is_armed = False
            faulthandler.unregister(signal.SIGALRM)
            signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)
            if timer[0] > 0.0:  # somebody else's alarm: it goes on
                left = timer[0] - (time.monotonic() - begun)
                signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3), timer[1])

    def call(self, method: str, call: Callable[[], Result]) -> Result:
        """What ``call`` gives. Raises EnvHangs where it takes too long."""
        if not self._is_armed or self._seconds is None or sys.platform == "win32":
            return call()
        self._calling = method
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)  # again, where the first one is swallowed
        try:
            return call()
        finally:
            self._calling = None
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _ring(self, number: int, frame: Any) -> None:
        if self._calling is not None:  # else it came back at the last moment
            raise EnvHangs(f"no answer to {self._calling} within {self._seconds:g} seconds")


class _Watched(gym.Wrapper[Any, Any, Any, Any]):
    """An environment whose calls are under an alarm."""

    def __init__(self, env: gym.Env[Any, Any], alarm: StepAlarm) -> None:
        super().__init__(env)
        self._alarm = alarm

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self._alarm.call("reset", lambda: self.env.reset(seed=seed, options=options))

    def step(self, action: Any) -> Any:
        return self._alarm.call("step", lambda: self.env.step(action))
