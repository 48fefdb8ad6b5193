"""What becomes of a step whose reward or observation is no finite number, and what is odd besides?"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space

from tensor_optix.errors import ConfigError, EnvError, NonFiniteError, nearest

logger = logging.getLogger(__name__)

MAX_DROPPED, SPAN_STEPS = 100, 10_000
"""An environment that is worse than this is not repaired by leaving its bad steps out."""
SUBSTITUTE = 1e6
"""In place of infinity where no bound says more: large for any task, and its square is harmless in float32."""
HEALTH_KEY = "nonfinite_steps"


class NonFiniteReading(EnvError):
    """An env episode cannot go on from here. The environment needs a reset and nothing else."""


@dataclass(frozen=True)
class Bounds:
    """Of an observation space: arrays that broadcast with an observation, infinite where there is no bound."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, space: Space[Any]) -> Bounds:
        """Those of a Box; other spaces have none here."""
        return cls(space.low, space.high) if isinstance(space, Box) else cls(np.array(-np.inf), np.array(np.inf))

    def exclude_anything(self, dtype: np.dtype[Any]) -> bool:
        """False where every number of this type is allowed, as in an image of bytes."""
        least, greatest = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-np.inf, np.inf)
        return dtype.kind != "b" and bool((self.low > least).any() or (self.high < greatest).any())

    def n_outside(self, observations: np.ndarray) -> int:
        """How many of the observations [T, ...] leave the bounds somewhere."""
        outside = (observations < self.low) | (observations > self.high)
        return int(outside.reshape(len(outside), -1).any(axis=1).sum()) if outside.any() else 0

    def clipped(self, observation: np.ndarray) -> np.ndarray:
        """``observation`` with finite numbers within the bounds in place of NaN (0) and infinity (the bound)."""
        finite = np.nan_to_num(observation, nan=0.0, posinf=SUBSTITUTE, neginf=-SUBSTITUTE)
        at_bounds = np.where(np.isposinf(observation) & np.isfinite(self.high), self.high, finite)
        at_bounds = np.where(np.isneginf(observation) & np.isfinite(self.low), self.low, at_bounds)
        within = np.clip(at_bounds, self.low, self.high)
        repaired: np.ndarray = np.where(np.isfinite(observation), observation, within).astype(observation.dtype)
        return repaired


class OnNonFinite(ABC):
    """Asked at every step (and reset) that gave a number that is not finite."""

    @abstractmethod
    def finite(
        self, observation: Any, reward: float, clipped: Callable[[Any], Any], problem: EnvError
    ) -> tuple[Any, float]:
        """What is used in place of these two; raises where nothing is.

        clipped: gives the observation with finite numbers. problem: which env, step and field.
        """


class DropEpisode(OnNonFinite):
    """The step is left out and the env episode ends before it."""

    def finite(
        self, observation: Any, reward: float, clipped: Callable[[Any], Any], problem: EnvError
    ) -> tuple[Any, float]:
        """Raises NonFiniteReading, after which a reset is due."""
        raise NonFiniteReading(str(problem), env_index=problem.env_index, step=problem.step)


class RaiseError(OnNonFinite):
    """The first such step ends the run."""

    def finite(
        self, observation: Any, reward: float, clipped: Callable[[Any], Any], problem: EnvError
    ) -> tuple[Any, float]:
        """Raises NonFiniteError."""
        raise NonFiniteError(
            f"{problem}; mend the environment, or leave such steps out with on_nonfinite='drop_episode'"
        )


class Clip(OnNonFinite):
    """NaN becomes 0, infinity the space's bound or a large number; counted in ``health``."""

    def __init__(self, health: Counter[str]) -> None:
        self._health = health

    def finite(
        self, observation: Any, reward: float, clipped: Callable[[Any], Any], problem: EnvError
    ) -> tuple[Any, float]:
        """Finite substitutes."""
        self._health[HEALTH_KEY] += 1
        substitute = float(np.nan_to_num(reward, nan=0.0, posinf=SUBSTITUTE, neginf=-SUBSTITUTE))
        return clipped(observation), substitute


def on_nonfinite_named(name: str, health: Counter[str]) -> OnNonFinite:
    """The reaction that a user calls ``name``. Raises ConfigError."""
    known: dict[str, Callable[[], OnNonFinite]] = {
        "drop_episode": DropEpisode, "raise": RaiseError, "clip": lambda: Clip(health),
    }  # fmt: skip
    if name not in known:
        raise ConfigError(
            f"on_nonfinite must be one of {', '.join(map(repr, known))}, got {name!r}.{nearest(str(name), known)}"
        )
    return known[name]()


class DroppedSteps:
    """Counts the steps that were left out, and ends the run when there are too many of them.

    Only the bad steps are remembered, by their number: a good one costs nothing.
    """

    def __init__(self, health: Counter[str]) -> None:
        self._health = health
        self._recent: deque[int] = deque()

    def add(self, step: int, reading: NonFiniteReading) -> None:
        """Env step number ``step`` was left out. Raises NonFiniteError past the limit."""
        self.tell(reading)
        self._recent.append(step)
        while self._recent[0] <= step - SPAN_STEPS:
            self._recent.popleft()
        if len(self._recent) > MAX_DROPPED:
            raise NonFiniteError(
                f"{len(self._recent)} of the last {SPAN_STEPS} steps had a reward or an observation that is not "
                f"finite, more than the {MAX_DROPPED} that are left out (the last one: {reading}): "
                "mend the environment, or have such numbers replaced with on_nonfinite='clip'"
            ) from reading

    def tell(self, reading: NonFiniteReading) -> None:
        """Count one; the first one is told."""
        if not self._health[HEALTH_KEY]:
            logger.warning("%s: the env episode ends before that step, and more such steps are only counted", reading)
        self._health[HEALTH_KEY] += 1

    def state_dict(self) -> dict[str, Any]:
        """The numbers of the steps."""
        return {"recent": list(self._recent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._recent = deque(state["recent"])
