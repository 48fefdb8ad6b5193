"""After DORMANT on a stream: has the policy, which acts and learns no more, become worse?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tensor_optix.core.fall_alarm import BestLevel, FallAlarm
from tensor_optix.core.selection import confirm_without_evaluation
from tensor_optix.core.statistics import noise_sd


class Watchdog:
    """Follows the scores of one fixed policy; an alarm that persists wakes the loop."""

    def __init__(self) -> None:
        self.is_on = False
        self._begin()

    def start(self) -> None:
        """Watch from the next score on."""
        self.is_on = True
        self._begin()

    def stop(self) -> None:
        """The loop learns again."""
        self.is_on = False

    def _begin(self) -> None:
        self._scores: list[float] = []
        self._level, self._fall = BestLevel(), FallAlarm()

    def heard(self, score: float) -> str | None:
        """Why the loop is to wake; None: all is well."""
        level, self._level = self._level.value, self._level.after(score)
        self._scores = [*self._scores, score][-100:]
        if level is None:
            return None
        self._fall = self._fall.after(level - score, noise_sd(self._scores))
        decision = confirm_without_evaluation(self._fall.total, FallAlarm.THRESHOLD)
        return decision.explanation if decision.is_confirmed else None

    def state_dict(self) -> dict[str, Any]:
        """What has been heard so far."""
        return {"is_on": self.is_on, "scores": [float(score) for score in self._scores],
                "level": self._level.state_dict(), "fall": asdict(self._fall)}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.is_on, self._scores = state["is_on"], list(state["scores"])
        self._level, self._fall = BestLevel.from_state(state["level"]), FallAlarm(**state["fall"])
