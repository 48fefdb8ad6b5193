"""The tuner that leaves the hyperparameters alone."""

from __future__ import annotations

from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.types import EvalMetrics, HyperparamSet


class NoTuning(BaseOptimizer):
    """Switches online tuning off: every suggestion is what is in force already."""

    def suggest(
        self, current_hyperparams: HyperparamSet, metrics_history: list[EvalMetrics]
    ) -> HyperparamSet:
        """The current hyperparameters."""
        return current_hyperparams
