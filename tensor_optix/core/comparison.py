"""Is one policy better than another? Tests on their scores, paired and unpaired. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """difference: mean advantage of the first over the second; t: in units of its standard error; p_value:
    one-sided, of no advantage. An advantage without any variation has t = inf and p = 0."""

    difference: float
    t: float
    degrees: float
    p_value: float


def paired_test(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Student's test on the differences of scores that share their random numbers: t = d̄ / (s_d / √n), n - 1 dof.

    first, second: [n], n ≥ 2, entry i of both from the same seed.
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    n = len(differences)
    return _compared(float(np.mean(differences)), float(np.var(differences, ddof=1)) / n, n - 1)


def welch_test(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Welch's test for two samples with variances of their own, by the Welch-Satterthwaite degrees of freedom.

    first [n], second [m]: n, m ≥ 2.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    u, v = float(np.var(a, ddof=1)) / len(a), float(np.var(b, ddof=1)) / len(b)
    below = u**2 / (len(a) - 1) + v**2 / (len(b) - 1)
    degrees = (u + v) ** 2 / below if below > 0 else float(len(a) + len(b) - 2)
    return _compared(float(np.mean(a) - np.mean(b)), u + v, degrees)


def _compared(difference: float, variance: float, degrees: float) -> Comparison:
    if variance > 0:
        t = difference / math.sqrt(variance)
    else:
        t = math.copysign(math.inf, difference) if difference else 0.0
    return Comparison(difference, t, degrees, 1 - student_cdf(t, degrees))


def student_cdf(t: float, degrees: float) -> float:
    """P(T ≤ t) = 1 - I_x(ν/2, 1/2) / 2 for t ≥ 0, x = ν / (ν + t²)."""
    if math.isinf(t):
        return 1.0 if t > 0 else 0.0
    tail = 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))
    return 1 - tail if t >= 0 else tail


def student_quantile(probability: float, degrees: float) -> float:
    """The t with P(T ≤ t) = probability, by bisection."""
    if probability < 0.5:
        return -student_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while student_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), the regularised incomplete beta function, by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    fraction = 1.0
    for m in range(200, 0, -1):  # from the inside out; converges long before 200 terms in this range of x
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        fraction = 1 + even / (1 + odd / fraction)
    first = -(a + b) * x / (a + 1)
    return math.exp(log_front) / a / (1 + first / fraction)
