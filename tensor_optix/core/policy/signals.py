"""What do recent scores say about gain, overfitting and agreement? Pure functions on a history of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tensor_optix.core.statistics import Floats
from tensor_optix.core.types import EvalMetrics

FEWEST = 3  # scores from which a slope means anything


@dataclass(frozen=True)
class Signals:
    """The last scores, oldest first, and the unit in which they are judged.

    score [n]: what decides; train, val [n]: of both kinds, or None without validation.
    scale: max(|mean score|, range of all scores so far): the seed's |mean|, which says nothing around zero.
    """

    score: Floats
    train: Floats | None
    val: Floats | None
    scale: float

    @property
    def gaps(self) -> Floats | None:
        """(train - val) / scale, [n]."""
        return None if self.train is None or self.val is None else (self.train - self.val) / self.scale

    @property
    def slope(self) -> float:
        """Gain per score, in units of the scale."""
        return line_slope(self.score) / self.scale


def signals(history: Sequence[EvalMetrics], window: int) -> Signals:
    """Of the last ``window`` scores; with validation, of those that carry one. Scores that are not finite are left
    out."""
    finite = [metrics for metrics in history if np.isfinite(metrics.primary_score)]
    validated = [m for m in finite if m.generalization_gap is not None]
    recent = (validated or finite)[-window:]
    score = np.array([metrics.primary_score for metrics in recent], dtype=float)
    everything = [metrics.primary_score for metrics in finite]
    scale = scale_of(score, everything)
    if not validated:
        return Signals(score, None, None, scale)
    train, val = (np.array([m.metrics[name] for m in recent], dtype=float) for name in ("train_score", "val_score"))
    return Signals(score, train, val, scale)


def scale_of(recent: Sequence[float] | Floats, everything: Sequence[float] | Floats) -> float:
    """max(|mean of the recent|, range of all); 1 where both are zero, so that nothing divides by it."""
    if not len(recent):
        return 1.0
    return max(abs(float(np.mean(recent))), float(np.ptp(everything))) or 1.0


def line_slope(y: Sequence[float] | Floats) -> float:
    """Least-squares slope per entry; 0 for fewer than two."""
    values = np.asarray(y, dtype=float)
    if len(values) < 2:
        return 0.0
    x = np.arange(len(values)) - (len(values) - 1) / 2
    return float(x @ (values - values.mean()) / (x @ x))


def pearson(a: Floats, b: Floats) -> float:
    """The correlation; 1 where one of them does not vary, that is, where it is undefined."""
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norm if norm > 0 else 1.0
