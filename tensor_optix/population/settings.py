"""What may a user say about a population?"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tensor_optix.errors import ConfigError

INTERVAL_WINDOWS = 10
LEAST_INTERVALS = 10  # where the budget of steps is known
USUAL_WINDOW = 200  # env steps, where a pipeline does not say


@dataclass(frozen=True)
class Population:
    """size: members. interval_steps: env steps of each between two exchanges (default: ten windows of its pipeline, or
    fewer where ``max_steps`` would not pay for ten intervals of everybody).

    n_jobs: processes (default: as many as there are processors, at most one a member; 1: this process, where the
    members take turns). What comes out does not depend on it.
    """

    size: int
    interval_steps: int | None = None
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        _require("population", self.size, 2)
        for name, value in (("interval_steps", self.interval_steps), ("n_jobs", self.n_jobs)):
            if value is not None:
                _require(name, value, 1)

    @property
    def processes(self) -> int:
        """How many to use."""
        return min(self.size, self.n_jobs or os.cpu_count() or 1)

    def interval(self, window_steps: int | None, max_steps: int | None) -> int:
        """``interval_steps``, or its default."""
        if self.interval_steps is not None:
            return self.interval_steps
        window = window_steps or USUAL_WINDOW
        affordable = INTERVAL_WINDOWS if max_steps is None else max_steps // (LEAST_INTERVALS * self.size * window)
        return window * min(INTERVAL_WINDOWS, max(1, affordable))


def as_population(population: int | Population) -> Population:
    """A number of members stands for a population of that size. Raises ConfigError."""
    return population if isinstance(population, Population) else Population(population)


def _require(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}")
