"""How much of a learning curve is still to come? A posterior over curves, by weighting a fixed set of prior curves.

Four thousand curves are drawn once from seven families. Their time runs in units of the scores seen so far, so that
one set serves at every moment and looking twice as often changes nothing; a check is one matrix product. The idea of
extrapolating with curves sampled from a prior: Adriaensen et al. 2023; logistic shapes for returns: Shala et al. 2023.

The weights of the families, and the three constants below, were chosen on replayed public learning curves: real
ones creep on, or rise again after a plateau, more often than smooth ones suggest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tensor_optix.core.statistics import Floats

N_BINS = 64  # points of time at which a curve is compared with the scores
HORIZON = 4.0  # how far ahead "all that is to come" reaches, in units of the scores seen
_FUTURE = np.geomspace(1.0, HORIZON, 129)[1:]

TEMPER = 0.5  # scores of consecutive policies are not independent: each counts for half
SATURATION = 300.0  # n scores count for n / (1 + n/300): no prior curve is exactly right, however long one looks
MISFIT = 0.03  # and none fits closer than 3 % of its own rise


@dataclass(frozen=True)
class PriorCurves:
    """shape [K, N_BINS]: each curve over the time seen, range 1, mean 0; power [K]: mean of its squares;
    done [K]: share of its rise (up to the horizon) that is over now."""

    shape: Floats
    power: Floats
    done: Floats


@dataclass(frozen=True)
class CurvePosterior:
    """p_done: probability that no more than the given share of the rise is left; log_evidence: how much better the
    best curve explains the scores than no learning at all."""

    p_done: float
    log_evidence: float


def curve_posterior(scores: Floats, *, share_left: float, curves: PriorCurves | None = None) -> CurvePosterior:
    """Weigh the prior curves by the scores seen.

        b_k = max(0, c_my / c_mm)      rss_k = c_yy - b_k c_my + (0.03 b_k)²
        log w_k = -(n_eff / 2) log rss_k      p_done = Σ w_k 1[done_k ≥ 1 - share_left]

    Level and scale of every curve are fitted by least squares; curves that would have to fall count as flat.
    scores: oldest first. Scores that never varied carry no evidence: (0, 0).
    """
    curves = curves or prior_curves()
    y = scores - np.mean(scores)
    scale = float(np.max(np.abs(y)))
    if scale <= 1e-12 * float(np.max(np.abs(scores))):
        return CurvePosterior(0.0, 0.0)
    y = y / scale
    c_yy = float(np.mean(y * y))
    c_my = curves.shape @ binned(y) / N_BINS
    b = np.maximum(0.0, c_my / curves.power)
    rss = np.maximum(c_yy - b * c_my, 1e-4 * c_yy) + (MISFIT * b) ** 2
    effective = TEMPER * len(y) / (1 + len(y) / SATURATION)
    log_weight = -0.5 * effective * np.log(rss)
    top = float(np.max(log_weight))
    weight = np.exp(log_weight - top)
    p_done = float(np.sum(weight[curves.done >= 1 - share_left]) / np.sum(weight))
    return CurvePosterior(p_done, top + 0.5 * effective * float(np.log(c_yy)))


def binned(y: Floats) -> Floats:
    """The series as N_BINS means of equal spans of time; a score that lies in two spans counts in each by its part."""
    sums = np.concatenate([[0.0], np.cumsum(y)])
    edges = np.interp(np.linspace(0, len(y), N_BINS + 1), np.arange(len(y) + 1), sums)
    means: Floats = np.diff(edges) * (N_BINS / len(y))
    return means


@lru_cache(maxsize=1)
def prior_curves(n_curves: int = 4000, seed: int = 20230607) -> PriorCurves:
    """The prior, the same in every run. Time 1 is now; T: when 95 % of a curve's rise is over, log-uniform."""
    rng = np.random.default_rng(seed)
    now = (np.arange(N_BINS) + 0.5) / N_BINS
    time = np.concatenate([[0.0], now, _FUTURE])
    total = sum(weight for weight, _ in _FAMILIES)
    curves = []
    for weight, family in _FAMILIES:
        n = round(n_curves * weight / total)
        T = np.exp(rng.uniform(np.log(0.02), np.log(3.0), (n, 1)))
        curves.append(family(time[None, :], T, rng))
    m = np.concatenate(curves)
    seen = m[:, : N_BINS + 1]
    rise_seen, rise = np.max(seen, axis=1) - m[:, 0], np.max(m, axis=1) - m[:, 0]
    span = np.ptp(seen[:, 1:], axis=1, keepdims=True)
    shape = seen[:, 1:] / np.where(span > 1e-6, span, np.inf)  # a curve that has not begun to rise is flat: zeros
    shape = shape - np.mean(shape, axis=1, keepdims=True)
    power = np.maximum(np.mean(shape**2, axis=1), 1e-12)
    arrays = (shape, power, rise_seen / np.maximum(rise, 1e-9))
    for array in arrays:
        array.setflags(write=False)
    return PriorCurves(*arrays)


# -- the families: t [1, M], T [K, 1] -> [K, M] -----------------------------------------------------------------------

Family = Callable[[Floats, Floats, np.random.Generator], Floats]


def _stretched_exponential(t: Floats, T: Floats, rng: np.random.Generator) -> Floats:
    return _saturating((t / T) ** rng.uniform(0.8, 1.3, T.shape))


def _power_law(t: Floats, T: Floats, rng: np.random.Generator) -> Floats:
    p = rng.uniform(0.6, 2.5, T.shape)
    curve: Floats = 1 - (1 + t / T * (20 ** (1 / p) - 1)) ** -p
    return curve


def _take_off(t: Floats, T: Floats, rng: np.random.Generator) -> Floats:
    centre = rng.uniform(0.3, 0.9, T.shape)
    return _from_zero(_logistic((t - centre * T) / (T * (1 - centre) / 2.944)))


def _two_stages(t: Floats, T: Floats, rng: np.random.Generator) -> Floats:
    """A second rise at 1.3 · Pareto(1.5) times the first's moment: the hazard that a plateau is a false one."""
    first = rng.uniform(0.2, 0.9, T.shape)
    later = 1.3 * (1 + rng.pareto(1.5, T.shape))
    width = 0.12 * T
    second = _logistic((t - later * 0.5 * T) / (width * rng.uniform(0.5, 3.0, T.shape)))
    return _from_zero(first * _logistic((t - 0.5 * T) / width) + (1 - first) * second)


def _creeping(t: Floats, T: Floats, rng: np.random.Generator) -> Floats:
    """Most of the rise soon, the rest 4 to 30 times slower."""
    rest = rng.uniform(0.05, 0.5, T.shape)
    slower = np.exp(rng.uniform(np.log(4), np.log(30), T.shape))
    return (1 - rest) * _saturating(t / T) + rest * _saturating(t / (T * slower))


def _delayed(t: Floats, T: Floats, rng: np.random.Generator) -> Floats:
    delay = rng.uniform(0.1, 0.7, T.shape)
    return _saturating(np.maximum(0.0, t / T - delay) / (1 - delay))


def _ramp(t: Floats, T: Floats, rng: np.random.Generator) -> Floats:
    return np.minimum(1.0, 0.95 * t / T)


_FAMILIES: tuple[tuple[float, Family], ...] = (
    (1.0, _stretched_exponential), (1.0, _power_law), (1.0, _take_off), (3.0, _two_stages),
    (2.0, _creeping), (0.7, _delayed), (0.7, _ramp),
)  # fmt: skip


def _saturating(x: Floats) -> Floats:
    """1 - exp(-3 x): 95 % at x = 1."""
    curve: Floats = 1 - np.exp(-3 * x)
    return curve


def _logistic(x: Floats) -> Floats:
    curve: Floats = 1 / (1 + np.exp(-np.clip(x, -50.0, 50.0)))
    return curve


def _from_zero(curve: Floats) -> Floats:
    return curve - curve[:, :1]
