"""Has validation stopped rising, whatever the training score does?"""

from __future__ import annotations

from typing import Any

from tensor_optix.core.convergence import ConvergenceRule, Tick
from tensor_optix.core.fall_alarm import FallAlarm
from tensor_optix.core.selection import confirm_without_evaluation
from tensor_optix.core.types import LoopState


class ValidationWatch:
    """Judges the validation scores by a rule of their own: flat or falling ones end the run (overfitting)."""

    def __init__(self, rule: ConvergenceRule) -> None:
        self._rule = rule

    def heard(self, score: float, smoothed: float) -> str | None:
        """Why the run is to end after this validation; None: it goes on."""
        judgement = self._rule.judge(Tick(score, smoothed))
        if judgement.state is LoopState.DORMANT:
            return f"validation has stopped rising: {judgement.explanation}"
        fall = confirm_without_evaluation(judgement.evidence.get("fall", 0.0), FallAlarm.THRESHOLD)
        return f"validation is falling: {fall.explanation}" if fall.is_confirmed else None

    def restart(self, *, is_new_agent: bool) -> None:
        """A fresh clock."""
        self._rule.restart(is_new_agent=is_new_agent)

    def state_dict(self) -> dict[str, Any]:
        """The rule's."""
        return self._rule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._rule.load_state_dict(state)
