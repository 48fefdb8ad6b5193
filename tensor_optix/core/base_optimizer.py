"""The tuner contract: what was measured in, the next hyperparameters out. (The published name is "optimizer".)"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tensor_optix.core.types import EvalMetrics, HyperparamSet, TuningEvidence


class BaseOptimizer(ABC):
    """Proposes hyperparameters during a run. Asked at every tick from the second one on."""

    @abstractmethod
    def suggest(
        self, current_hyperparams: HyperparamSet, metrics_history: list[EvalMetrics]
    ) -> HyperparamSet:
        """Hyperparameters for the next learn call. ``metrics_history`` is oldest first."""

    def observe(self, evidence: TuningEvidence) -> None:
        """Told, just before ``suggest``, which hyperparameters trained the policy whose score this is."""

    def on_improvement(self, metrics: EvalMetrics) -> None:
        """A tick counted as an improvement."""

    def on_plateau(self, metrics_history: list[EvalMetrics]) -> None:
        """The loop found that nothing more is being gained."""

    @property
    def is_probing(self) -> bool:
        """True while the hyperparameters in force are an experiment."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs. Default: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
