"""What a series of scores says: its noise, the range learned, the level of each policy. Pure functions.

Every estimate is equivariant: scores that are scaled or shifted give the same decision in every rule built on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NEIGHBOURS = 4  # scores on each side that say something about a policy's level
MAD_TO_SD = 1.4826  # standard deviation of a normal distribution in units of its median absolute deviation


def noise_sd(scores: Sequence[float] | Floats) -> float:
    """Standard deviation of one score around its (unknown, moving) level.

        σ̂ = 1.4826 · MAD(y_i - y_{i-3}) / √2

    The lag-3 difference estimator (Rice 1984 at a longer lag): a trend cancels, and so does what consecutive
    policies share. scores: oldest first. Fewer than five scores: 0.0, that is, unknown.
    """
    y = np.asarray(scores, dtype=float)
    return spread(y[3:] - y[:-3]) / 2**0.5 if len(y) >= 5 else 0.0


def recent_noise_sd(scores: Sequence[float] | Floats) -> float:
    """``noise_sd`` of the last half of the scores, of twelve at least: what the noise is now."""
    return noise_sd(scores[-max(12, len(scores) // 2) :])


def spread(values: Floats) -> float:
    """1.4826 · MAD: the standard deviation of the bulk, whatever the outliers."""
    return float(MAD_TO_SD * np.median(np.abs(values - np.median(values))))


def winsorised(scores: Sequence[float] | Floats) -> Floats:
    """The scores with those far outside the bulk pulled in.

        y ← clip(y, 2 q₅ - q₉₅, 2 q₉₅ - q₅)

    q₅, q₉₅: without a twentieth of the scores at each end, one score at least. A catastrophic return would otherwise
    be most of the range, and hide every gain; more than one in twenty are part of what the policies do.
    """
    y = np.asarray(scores, dtype=float)
    beyond = min(max(1, len(y) // 20), (len(y) - 1) // 2)
    ordered = np.partition(y, [beyond, len(y) - 1 - beyond])
    low, high = ordered[beyond], ordered[-1 - beyond]
    clipped: Floats = np.clip(y, 2 * low - high, 2 * high - low)
    return clipped


def best_mean(scores: Sequence[float] | Floats, width: int) -> float:
    """The largest mean of ``width`` consecutive scores (of all scores, when there are fewer)."""
    y = np.asarray(scores, dtype=float)
    width = min(width, len(y))
    sums = np.cumsum(np.concatenate([[0.0], y]))
    return float(np.max(sums[width:] - sums[:-width]) / width)


def learned_range(scores: Sequence[float] | Floats, noise: float) -> tuple[float, float]:
    """How far the best level lies above the start: (R, standard error).

        R = best mean of w consecutive scores - mean of the first s      w = max(5, n/10), s = max(3, n/20)
        se(R) = σ̂ √(1/w + 1/s)

    The widths grow with the series, so that looking twice as often changes neither.
    """
    y = np.asarray(scores, dtype=float)
    width, start = max(5, len(y) // 10), max(3, len(y) // 20)
    gain = best_mean(y, width) - float(np.mean(y[:start]))
    return gain, noise * (1 / width + 1 / start) ** 0.5


def recent_gain(scores: Sequence[float] | Floats, share: float, noise: float) -> tuple[float, float]:
    """What the last ``share`` of the scores gained, its second half over its first: (g, standard error).

    g = ȳ_second - ȳ_first,    se(g) = σ̂ √(2/m),    m: scores in each half
    """
    y = np.asarray(scores, dtype=float)
    half = max(1, int(share * len(y)) // 2)
    gain = float(np.mean(y[-half:]) - np.mean(y[-2 * half : -half]))
    return gain, noise * (2 / half) ** 0.5


def cusum(total: float, z: float, *, allowance: float) -> float:
    """One step of the one-sided cumulative sum (Page 1954): S ← max(0, S + z - k)."""
    return max(0.0, total + z - allowance)


def level_at(scores: Sequence[float], at: int) -> float:
    """What is known of the level of policy ``at``, given its one noisy score and those around it.

        μ = ½ y_at + ½ mean(y_{at-4} ... y_{at+4})

    The posterior mean where levels of neighbours differ about as much as a score errs. Almost free of the winner's
    curse that a largest score carries, and better at choosing than estimating that ratio from the series, in which
    noise and what policies lose and regain from window to window look alike (``benchmarks/selection.py``). scores:
    oldest first; those beyond either end are left out, so with the last index it is what is known of the newest.
    """
    around = scores[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1]
    return 0.5 * scores[at] + 0.5 * math.fsum(around) / len(around)


def interquartile_mean(values: Sequence[float] | Floats) -> float:
    """Mean of the middle half of all values (Agarwal et al. 2021), values on the edge counted in part."""
    ordered = np.sort(np.asarray(values, dtype=float).ravel())
    edges = np.arange(len(ordered) + 1) / len(ordered)
    weights = np.diff(np.clip(edges, 0.25, 0.75))
    return float(np.sum(weights * ordered) * 2)


def bootstrap_interval(
    values: Sequence[float], rng: np.random.Generator, *, confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval for the mean (Efron 1979). values: independent, at least one."""
    samples = np.asarray(values, dtype=float)
    means = rng.choice(samples, size=(resamples, len(samples))).mean(axis=1)
    return _percentiles(means, confidence)


def stratified_interval(
    strata: Sequence[Sequence[float]], rng: np.random.Generator, *, confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Bootstrap interval for the interquartile mean over several tasks, runs resampled within each task.

    strata: the scores of the runs, one sequence a task (Agarwal et al. 2021).
    """
    drawn = [rng.choice(np.asarray(runs, dtype=float), size=(resamples, len(runs))) for runs in strata]
    pooled = np.concatenate(drawn, axis=1)
    return _percentiles(np.array([interquartile_mean(row) for row in pooled]), confidence)


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
