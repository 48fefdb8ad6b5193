"""How far apart evaluation points lie, and for how long nothing has improved: a pure state machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.types import LoopState


@dataclass(frozen=True)
class Backoff:
    """interval: ticks between evaluation points; misses: ticks in a row without improvement."""

    interval: int = 1
    misses: int = 0

    def after(self, improved: bool, config: LoopConfig) -> Backoff:
        """The state after one more tick."""
        if improved:
            return Backoff(config.base_interval)
        longer = min(math.ceil(self.interval * config.backoff_factor), config.max_interval_episodes)
        return Backoff(longer, self.misses + 1)

    def state(self, config: LoopConfig) -> LoopState:
        """ACTIVE, COOLING after a plateau, DORMANT when patience is used up."""
        if self.misses >= config.dormant_threshold:
            return LoopState.DORMANT
        if self.misses >= config.plateau_threshold:
            return LoopState.COOLING
        return LoopState.ACTIVE
