"""How far should the next variant be from its origin? The more is being gained, the less. Pure functions."""

from __future__ import annotations

import numpy as np

from tensor_optix.core.policy.signals import FEWEST, Signals, line_slope, pearson

MAX_SLOPE = 0.05  # a gain per score, in units of the scale, that counts as strong


def noise_scale(signals: Signals, *, min_scale: float, max_scale: float) -> float:
    """The three-signal formula with validation, the improvement ratio without; the most before three scores."""
    if len(signals.score) < FEWEST:
        return max_scale
    if signals.gaps is None:
        return max(min_scale, noise_without_validation(signals, max_scale))
    return noise_with_validation(signals, min_scale=min_scale, max_scale=max_scale)


def noise_with_validation(signals: Signals, *, min_scale: float, max_scale: float) -> float:
    """Gain, generalization gap and agreement of both scores:

        t = clip(slope(val) / max_slope, 0, 1)
        gap_penalty = clip(mean(train - val) / scale, 0, 1)     corr_penalty = clip(1 - Pearson(train, val), 0, 1)
        effective_t = t (1 - gap_penalty / 2) (1 - corr_penalty / 2)
        noise_scale = max_scale - effective_t (max_scale - min_scale)

    slope and gap in units of ``signals.scale``, which is |mean(val)| unless that is next to nothing.
    """
    assert signals.gaps is not None
    assert signals.train is not None
    assert signals.val is not None
    t = np.clip(line_slope(signals.val) / signals.scale / MAX_SLOPE, 0, 1)
    gap_penalty = np.clip(signals.gaps.mean(), 0, 1)
    corr_penalty = np.clip(1 - pearson(signals.train, signals.val), 0, 1)
    effective_t = t * (1 - 0.5 * gap_penalty) * (1 - 0.5 * corr_penalty)
    return float(max_scale - effective_t * (max_scale - min_scale))


def noise_without_validation(signals: Signals, base_noise: float) -> float:
    """σ = base_noise / (1 + improvement_ratio), the ratio being what the last scores gained in units of the scale."""
    gained = line_slope(signals.score) * (len(signals.score) - 1) / signals.scale
    return base_noise / (1 + max(0.0, gained))
