"""What a run may spend, and how it is said that it is spent."""

from __future__ import annotations

from dataclasses import dataclass

from tensor_optix.core.types import StopReason


@dataclass(frozen=True)
class Budget:
    """Totals at which to stop; None: no limit.

    windows, env_steps: compared with the loop's counters. until: a reading of the loop's clock, in seconds.
    """

    windows: int | None = None
    env_steps: int | None = None
    until: float | None = None

    @classmethod
    def from_here(
        cls, windows: int, env_steps: int, now: float, *,
        more_windows: int | None = None, more_steps: int | None = None, more_seconds: float | None = None,
    ) -> Budget:
        """A budget that begins at these readings."""
        return cls(
            None if more_windows is None else windows + more_windows,
            None if more_steps is None else env_steps + more_steps,
            None if more_seconds is None else now + more_seconds,
        )

    def exhausted(self, windows: int, env_steps: int, now: float) -> StopReason | None:
        """Which limit has been reached, if any."""
        if self.windows is not None and windows >= self.windows:
            return StopReason.MAX_EPISODES
        if self.env_steps is not None and env_steps >= self.env_steps:
            return StopReason.MAX_STEPS
        if self.until is not None and now >= self.until:
            return StopReason.MAX_TIME
        return None


def explain(reason: StopReason) -> str:
    """Why a run ended that the evidence did not end."""
    return {
        StopReason.MAX_EPISODES: "the budget of windows (max_episodes) is used up",
        StopReason.MAX_STEPS: "the budget of environment steps (max_steps) is used up",
        StopReason.MAX_TIME: "the budget of time (max_time) is used up",
        StopReason.STOPPED: "stop() was called",
        StopReason.INTERRUPTED: "interrupted; the best policy was kept",
        StopReason.TERMINATED: "terminated; the best policy was kept",
    }[reason]
