"""The tuner contract: what was measured in, the next hyperparameters out. (The published name is "optimizer".)"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from tensor_optix.core.hyperparams import Space
from tensor_optix.core.types import EvalMetrics, HyperparamSet, TuningEvidence


class BaseOptimizer(ABC):
    """Proposes hyperparameters during a run. Asked at every tick from the second one on."""

    @abstractmethod
    def suggest(
        self, current_hyperparams: HyperparamSet, metrics_history: list[EvalMetrics]
    ) -> HyperparamSet:
        """Hyperparameters for the next learn call. ``metrics_history`` is oldest first."""

    def expect(self, space: Space | None) -> None:
        """Told once before the run which hyperparameters the agent declares (None: it declares none).

        Default: of no interest.
        """

    def seed(self, rng: np.random.Generator) -> None:
        """Draw everything random from ``rng`` from now on. Default: nothing is drawn."""

    def observe(self, evidence: TuningEvidence) -> None:
        """Told, just before ``suggest``, which hyperparameters trained the policy whose score this is."""

    def settled(self, hyperparams: HyperparamSet) -> HyperparamSet:
        """``hyperparams`` with every experiment taken back, for an agent that is handed out. Default: as they are."""
        return hyperparams

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
