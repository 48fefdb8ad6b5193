"""Have scores fallen below the best level for good? An alarm that adds up how far and for how long."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tensor_optix.core.loop_config import LoopConfig, default
from tensor_optix.core.statistics import cusum


@dataclass(frozen=True)
class FallAlarm:
    """One-sided CUSUM on how far scores lie below the best level (Page 1954).

        S ← max(0, S + min((level - y) / σ̂, 4) - 1.5)        news when S first exceeds 8

    The allowance covers what a maximum over noisy levels over-reports, and the limit of 4 means that one wild score
    alone raises no alarm. A fall of three sd is told after 4 scores (median); scores that only vary cause less than
    one false alarm in 500, heavy tails included. With σ̂ = 0 nothing is said.
    """

    LEVEL_WIDTH = 8
    WORST = 4.0
    ALLOWANCE = 1.5
    THRESHOLD = 8.0

    total: float = 0.0
    told: bool = False
    is_news: bool = False

    def after(self, shortfall: float, noise: float) -> FallAlarm:
        """The state after a score ``shortfall`` below the best level."""
        if noise <= 0:
            return replace(self, is_news=False)
        total = cusum(self.total, min(shortfall / noise, self.WORST), allowance=self.ALLOWANCE)
        told = self.told and total > 0
        is_news = total > self.THRESHOLD and not told
        return FallAlarm(total, told or is_news, is_news)

    def below_share(self, level: float, score: float, share: float) -> FallAlarm:
        """The state after ``score``, where a fall is news as soon as score < level - (1 - share) |level|."""
        is_below = score < level - (1 - share) * abs(level)
        return FallAlarm(told=is_below, is_news=is_below and not self.told)

    def heard(self, level: float, score: float, noise: float, config: LoopConfig) -> FallAlarm:
        """The state after ``score``, by the alarm that the settings ask for. level: the best level so far."""
        if config.degradation_threshold != default("degradation_threshold"):
            return self.below_share(level, score, config.degradation_threshold)
        smallest = config.min_degradation_drop
        is_too_small = smallest != default("min_degradation_drop") and level - score <= smallest
        return self.after(0.0 if is_too_small else level - score, noise)


@dataclass(frozen=True)
class BestLevel:
    """The best mean of WIDTH consecutive scores, kept score by score. ``value``: None before WIDTH scores."""

    WIDTH = FallAlarm.LEVEL_WIDTH

    recent: tuple[float, ...] = ()
    value: float | None = None

    def after(self, score: float) -> BestLevel:
        """The state after one more score."""
        recent = (*self.recent, score)[-self.WIDTH :]
        if len(recent) < self.WIDTH:
            return BestLevel(recent, self.value)
        mean = sum(recent) / self.WIDTH
        return BestLevel(recent, mean if self.value is None else max(self.value, mean))

    def state_dict(self) -> dict[str, Any]:
        """This state as JSON values."""
        return {**asdict(self), "recent": list(self.recent)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BestLevel:
        """The inverse of ``state_dict``."""
        return cls(tuple(state["recent"]), state["value"])
