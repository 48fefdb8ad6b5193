"""The loop has become DORMANT: is another variant worth its steps? A rule on gap, gap slope and improvement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tensor_optix.core.policy.signals import FEWEST, line_slope, signals
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import ConfigError


class MetaAction(Enum):
    """NO_OP and STOP end the run, STOP with a report; SPAWN tries a variant; PRUNE drops the weakest member first."""

    NO_OP = auto()
    SPAWN = auto()
    PRUNE = auto()
    STOP = auto()


@dataclass(frozen=True)
class MetaDecision:
    """What to do, and why; where there is no validation it says what could not be seen."""

    action: MetaAction
    explanation: str


class MetaController:
    """Decides by the last ``window`` scores, in units of max(|mean score|, range of all scores so far).

    gap_threshold: mean generalization gap above which the weakest member is pruned. gap_slope_threshold: the same
    for the growth of the gap per score. improvement_threshold: a gain per score below it calls for a variant.
    """

    def __init__(
        self,
        gap_threshold: float = 0.2,
        gap_slope_threshold: float = 0.02,
        improvement_threshold: float = 0.01,
        window: int = 10,
    ) -> None:
        if window < FEWEST:
            raise ConfigError(f"window must be at least {FEWEST}, got {window}: fewer scores have no slope")
        self.gap_threshold = gap_threshold
        self.gap_slope_threshold = gap_slope_threshold
        self.improvement_threshold = improvement_threshold
        self.window = window

    def decide(self, metrics_history: Sequence[EvalMetrics], pm_status: dict[str, Any]) -> MetaAction:
        """The action for this history (oldest first) and this ``PolicyManager.status()``."""
        return self.judge(metrics_history, pm_status).action

    def judge(self, metrics_history: Sequence[EvalMetrics], pm_status: dict[str, Any]) -> MetaDecision:
        """The action with its reason."""
        if pm_status["budget_exhausted"]:
            return MetaDecision(MetaAction.STOP, "the spawn budget is used up")
        seen = signals(metrics_history, self.window)
        if len(seen.score) < FEWEST:
            return MetaDecision(MetaAction.NO_OP, f"{len(seen.score)} scores say nothing yet, {FEWEST} would")
        if seen.gaps is not None:
            gap, growth = float(seen.gaps.mean()), line_slope(seen.gaps)
            if gap > self.gap_threshold:
                return MetaDecision(MetaAction.PRUNE, f"the generalization gap is {gap:.3g} of the scale")
            if growth > self.gap_slope_threshold:
                return MetaDecision(MetaAction.PRUNE, f"the generalization gap grows by {growth:.3g} per score")
        blind = "" if seen.gaps is not None else "; overfitting cannot be seen without validation"
        if seen.slope < self.improvement_threshold:
            return MetaDecision(MetaAction.SPAWN, f"scores gain {seen.slope:.3g} of the scale each{blind}")
        return MetaDecision(MetaAction.NO_OP, f"scores still gain {seen.slope:.3g} of the scale each{blind}")
