"""Estimates that the loop's judgement rests on: pure functions of score series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MAD_TO_SD = 1.4826  # standard deviation of a normal distribution in units of its median absolute deviation


def noise_sd(scores: Sequence[float]) -> float:
    """Standard deviation of one score around its (unknown, moving) level.

        σ̂ = 1.4826 · MAD(y_i - y_{i-3}) / √2

    The lag-3 difference estimator (Rice 1984 at a longer lag): a trend cancels, and so does what consecutive
    policies share. scores: oldest first. Fewer than five scores: 0.0, that is, unknown.
    """
    y = np.asarray(scores, dtype=float)
    if len(y) < 5:
        return 0.0
    differences = y[3:] - y[:-3]
    return float(MAD_TO_SD * np.median(np.abs(differences - np.median(differences))) / np.sqrt(2))


def best_mean(scores: Sequence[float], width: int) -> float:
    """The largest mean of ``width`` consecutive scores (of all scores, when there are fewer)."""
    y = np.asarray(scores, dtype=float)
    width = min(width, len(y))
    sums = np.cumsum(np.concatenate([[0.0], y]))
    return float(np.max(sums[width:] - sums[:-width]) / width)


def bootstrap_interval(
    values: Sequence[float], rng: np.random.Generator, *, confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval for the mean (Efron 1979). values: independent, at least one."""
    samples = np.asarray(values, dtype=float)
    means = rng.choice(samples, size=(resamples, len(samples))).mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
