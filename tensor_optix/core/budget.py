"""What a run may spend, the time it has taken, and how it is said that a budget is spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tensor_optix.core.types import StopReason


@dataclass(frozen=True)
class Spent:
    """Totals of a run: windows collected, environment steps, seconds."""

    windows: int = 0
    env_steps: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Budget:
    """Totals at which to stop; None: no limit."""

    windows: int | None = None
    env_steps: int | None = None
    seconds: float | None = None

    def after(self, spent: Spent) -> Budget:
        """The same budget, counted from ``spent`` on."""
        return Budget(
            None if self.windows is None else spent.windows + self.windows,
            None if self.env_steps is None else spent.env_steps + self.env_steps,
            None if self.seconds is None else spent.seconds + self.seconds,
        )

    def exhausted(self, spent: Spent) -> StopReason | None:
        """Which limit has been reached, if any."""
        if self.windows is not None and spent.windows >= self.windows:
            return StopReason.MAX_EPISODES
        if self.env_steps is not None and spent.env_steps >= self.env_steps:
            return StopReason.MAX_STEPS
        if self.seconds is not None and spent.seconds >= self.seconds:
            return StopReason.MAX_TIME
        return None


class RunClock:
    """Seconds spent inside ``run()``, over all its calls."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """So far; the time between two calls does not count."""
        return self._before + (0.0 if self._since is None else self._clock() - self._since)

    def start(self, seconds: float | None = None) -> None:
        """A call begins; ``seconds``: what earlier ones took, where this clock does not know it."""
        self._before = self._before if seconds is None else seconds
        self._since = self._clock()

    def stop(self) -> None:
        """The call is over."""
        self._before, self._since = self.seconds, None


def explain(reason: StopReason) -> str:
    """Why a run ended that the evidence did not end."""
    return {
        StopReason.MAX_EPISODES: "the budget of windows (max_episodes) is used up",
        StopReason.MAX_STEPS: "the budget of environment steps (max_steps) is used up",
        StopReason.MAX_TIME: "the budget of time (max_time) is used up",
        StopReason.STOPPED: "stop() was called",
        StopReason.PIPELINE_ENDED: "the pipeline has no more windows",
        StopReason.INTERRUPTED: "interrupted; the best policy was kept",
        StopReason.TERMINATED: "terminated; the best policy was kept",
    }[reason]
