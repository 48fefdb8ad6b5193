"""What did an alternating experiment do to the scores? Least squares on a handful of ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CORRELATED = 0.15
"""Lag-1 correlation of residuals from which on they are not taken for independent."""

ROUNDING = 1e-9


@dataclass(frozen=True)
class Effect:
    """Half the difference between the two arms, with its t statistic; positive where the + arm is better.

    t is infinite for an effect without any noise, 0 where there is nothing to see.
    """

    size: float
    t: float


def pattern(n_windows: int) -> tuple[int, ...]:
    """+ - - +, each arm ``n_windows`` ticks long: a trend, linear or quadratic, weighs equally on both."""
    return tuple(sign for sign in (1, -1, -1, 1) for _ in range(n_windows))


def effect_of(signs: Sequence[int], scores: Sequence[float]) -> Effect:
    """What the sign in force during learning did to the scores that followed.

    signs: [n]; scores: [n + 1], score i + 1 being that of the policy trained under sign i, and score 0 the one before.

        speed:  y_t = a + b t + c t² + β Σ_{s≤t} sign_s      hyperparameters that change how fast the score rises
        level:  y_t = a + b t + c t² + β sign_t              those to which the score responds at once

    The model that leaves the smaller residual answers. Where its residuals are correlated, the policy itself is
    wandering, and nothing is independent but its gains: then y_t - y_{t-1} = b + c t + β sign_t answers.
    """
    y = np.asarray(scores, dtype=float)
    spread = float(y.max() - y.min())
    if spread == 0.0:
        return Effect(0.0, 0.0)
    y = (y - y[0]) / spread
    fits = [_fit(_design(column), y) for column in _columns(signs)]
    fit = min(fits, key=lambda fit: fit.rss)
    if fit.autocorrelation > CORRELATED:
        wandering = _fit(_design(np.asarray(signs, dtype=float))[:, [0, 1, 3]], np.diff(y))
        fit = wandering if abs(wandering.t) < abs(fit.t) else fit
    return Effect(fit.beta * spread, fit.t)


def speed_error(signs: Sequence[int]) -> float:
    """Standard error of the speed effect of such an experiment for scores with a noise of 1."""
    design = _design(_columns(signs)[0])
    return float(np.sqrt(np.linalg.inv(design.T @ design)[-1, -1]))


def _columns(signs: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    s = np.concatenate([[0.0], np.asarray(signs, dtype=float)])
    return np.cumsum(s), s


def _design(column: np.ndarray) -> np.ndarray:
    t = np.linspace(-1.0, 1.0, len(column))
    return np.stack([np.ones_like(t), t, t * t, column], axis=1)


@dataclass(frozen=True)
class _Fit:
    """Least squares: the last column's coefficient, its t statistic, and what was left over."""

    beta: float
    t: float
    rss: float
    autocorrelation: float


def _fit(design: np.ndarray, y: np.ndarray) -> _Fit:
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    residual = y - design @ solution
    rss = float(residual @ residual)
    error = math.sqrt(rss / (len(y) - design.shape[1]) * np.linalg.inv(design.T @ design)[-1, -1])
    beta = float(solution[-1])
    if error < ROUNDING:
        return _Fit(beta, math.copysign(math.inf, beta) if abs(beta) > ROUNDING else 0.0, rss, 0.0)
    return _Fit(beta, beta / error, rss, float(residual[1:] @ residual[:-1]) / rss)
