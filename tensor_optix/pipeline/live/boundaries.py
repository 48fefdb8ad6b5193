"""When does a window of a stream end?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import isfinite
from typing import Any

from tensor_optix.errors import ConfigError


class Boundary(ABC):
    """A boundary function that knows more than its three arguments tell.

    Called as every ``EpisodeBoundaryFn``: (rows so far, seconds since the window began, the latest observation).
    """

    ends_with_env_episodes = False
    """True: a window also ends with each env episode."""

    @abstractmethod
    def __call__(self, steps: int, seconds: float, observation: Any) -> bool:
        """True to end the window here."""


@dataclass(frozen=True)
class EveryNSteps(Boundary):
    """Windows of ``n`` rows; env episodes go on from one into the next."""

    n: int

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise ConfigError(f"every_n_steps needs a whole number of at least 1, got {self.n!r}")

    def __call__(self, steps: int, seconds: float, observation: Any) -> bool:
        return steps >= self.n


@dataclass(frozen=True)
class EveryNSeconds(Boundary):
    """Windows of ``seconds``, and of one row at least; env episodes go on from one into the next."""

    seconds: float

    def __post_init__(self) -> None:
        is_number = isinstance(self.seconds, int | float) and not isinstance(self.seconds, bool)
        if not is_number or not isfinite(self.seconds) or self.seconds <= 0:
            raise ConfigError(f"every_n_seconds needs a number above 0, got {self.seconds!r}")

    def __call__(self, steps: int, seconds: float, observation: Any) -> bool:
        return seconds >= self.seconds


class OnDoneSignal(Boundary):
    """A window for each env episode."""

    ends_with_env_episodes = True

    def __call__(self, steps: int, seconds: float, observation: Any) -> bool:
        return False
