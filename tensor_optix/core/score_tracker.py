"""The scores of a run, one per tick: raw, smoothed, and the best one."""

from __future__ import annotations

import math

from tensor_optix.core.types import EvalMetrics


class ScoreTracker:
    """Remembers every tick's metrics, oldest first."""

    def __init__(self, smoothing: int) -> None:
        self._smoothing = smoothing
        self.history: list[EvalMetrics] = []
        self._start = 0

    def add(self, metrics: EvalMetrics) -> None:
        """Record one tick."""
        self.history.append(metrics)

    def restart(self) -> None:
        """Another policy takes over: earlier scores stay in the history but are no longer compared with."""
        self._start = len(self.history)

    @property
    def smoothed(self) -> float | None:
        """Mean of the last few scores; None before the first."""
        first = max(self._start, len(self.history) - self._smoothing)
        recent = [metrics.primary_score for metrics in self.history[first:]]
        return math.fsum(recent) / len(recent) if recent else None

    @property
    def previous(self) -> float | None:
        """The score of the tick before the last one; None where another policy was followed then."""
        return self.history[-2].primary_score if len(self.history) > self._start + 1 else None


def present(metrics: EvalMetrics | None) -> EvalMetrics | None:
    """``metrics``, or None when it holds no score: nothing was measured, or not a number came out."""
    if metrics is None or metrics.primary_score is None or not math.isfinite(metrics.primary_score):
        return None
    return metrics
