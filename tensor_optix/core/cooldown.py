"""The last stretch before a run is called converged: the learning rate goes to zero, and whatever that gains counts.

ACTIVE -> annealing -> settled (DORMANT), or, where it gained more than the rule calls nothing,
                    -> restored (full learning rate again) -> revoked (ACTIVE) if the gain stays, settled if not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

SHARE = 0.2  # of the scores so far that a cool-down takes
MIN_TICKS = 5
MAX_REVOCATIONS = 2


class Phase(Enum):
    """Where in the cool-down a run is."""

    OFF = "off"
    ANNEALING = "annealing"
    RESTORED = "restored"
    SETTLED = "settled"


@dataclass(frozen=True)
class Cooldown:
    """start, length: in ticks. level: mean score at the start; tolerance: a gain up to this is none (ε R there)."""

    phase: Phase = Phase.OFF
    start: int = 0
    length: int = 0
    level: float = 0.0
    tolerance: float = 0.0
    revocations: int = 0

    def begun(self, tick: int, *, level: float, tolerance: float) -> Cooldown:
        """The state at the first tick of a cool-down. One that was revoked twice is not begun again: settled."""
        if self.revocations >= MAX_REVOCATIONS:
            return replace(self, phase=Phase.SETTLED)
        length = max(MIN_TICKS, math.ceil(SHARE * tick))
        return Cooldown(Phase.ANNEALING, tick, length, level, tolerance, self.revocations)

    def after(self, tick: int, *, level: float, error: float) -> Cooldown:
        """The state at ``tick``. level, error: mean of the scores since the phase began, and its standard error."""
        if self.phase not in (Phase.ANNEALING, Phase.RESTORED) or tick < self.start + self.length:
            return self
        has_gained = level - self.level - 1.64 * error > self.tolerance
        if not has_gained:
            return replace(self, phase=Phase.SETTLED)
        if self.phase is Phase.ANNEALING:
            return replace(self, phase=Phase.RESTORED, start=tick)
        return Cooldown(revocations=self.revocations + 1)

    @property
    def is_on(self) -> bool:
        return self.phase in (Phase.ANNEALING, Phase.RESTORED)

    def learning_rate_factor(self, tick: int) -> float | None:
        """What the learning rate is multiplied by at ``tick``: falls from 1 towards 0 while annealing; None if off."""
        if not self.is_on:
            return None
        return 1 - (tick - self.start) / self.length if self.phase is Phase.ANNEALING else 1.0
