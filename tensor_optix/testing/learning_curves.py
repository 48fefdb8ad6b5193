"""Learning curves whose end is known: to measure when a stopping rule stops, against when it should."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Family = Callable[[np.random.Generator], Callable[[Floats], Floats]]


@dataclass(frozen=True)
class LearningCurve:
    """level [n]: the true score at every tick, from 0 to 1; t95: the first tick at 95 % of the rise."""

    family: str
    level: Floats

    @property
    def t95(self) -> int:
        return int(np.argmax(self.level >= 0.95)) + 1


def learning_curve(
    family: str, rng: np.random.Generator, *, n: int = 1000, slow: float = 150.0, fast: float = 15.0
) -> LearningCurve:
    """A curve of one of FAMILIES; 95 % of its rise are over after a log-uniform number of ticks in [fast, slow]."""
    ticks_to_95 = math.exp(rng.uniform(math.log(fast), math.log(slow)))
    shape = FAMILIES[family](rng)
    return LearningCurve(family, shape(np.arange(1, n + 1) / ticks_to_95))


def noise(kind: str, rng: np.random.Generator, n: int) -> Floats:
    """Noise with standard deviation 1: "gaussian", "heavy" (Student's t, 3 degrees) or "bimodal" (failed episodes)."""
    if kind == "gaussian":
        gaussian: Floats = rng.normal(size=n)
        return gaussian
    if kind == "heavy":
        heavy: Floats = rng.standard_t(3, size=n) / 3**0.5
        return heavy
    failures = 0.15
    drops: Floats = (failures - (rng.random(n) < failures)) / (failures * (1 - failures)) ** 0.5
    bimodal: Floats = 0.5**0.5 * (drops + rng.normal(size=n))
    return bimodal


NOISES = ("gaussian", "heavy", "bimodal")


# -- the families: a shape over s = t / T95, from 0 to 1 --------------------------------------------------------------


def _exponential(rng: np.random.Generator) -> Callable[[Floats], Floats]:
    p = rng.uniform(0.8, 1.3)
    return lambda s: 1 - np.exp(-3 * s**p)


def _power(rng: np.random.Generator) -> Callable[[Floats], Floats]:
    p = rng.uniform(0.8, 2.5)
    return lambda s: 1 - (1 + s * (20 ** (1 / p) - 1)) ** -p


def _take_off(rng: np.random.Generator) -> Callable[[Floats], Floats]:
    centre = rng.uniform(0.3, 0.9)
    width = (1 - centre) / 2.944

    def rise(s: Floats) -> Floats:
        start = _logistic(np.array(-centre / width))
        curve: Floats = (_logistic((s - centre) / width) - start) / (1 - start)
        return curve

    return rise


def _delayed(rng: np.random.Generator) -> Callable[[Floats], Floats]:
    delay = rng.uniform(0.2, 0.6)
    return lambda s: 1 - np.exp(-3 * np.maximum(0.0, s - delay) / (1 - delay))


def _ramp(rng: np.random.Generator) -> Callable[[Floats], Floats]:
    return lambda s: np.minimum(1.0, 0.95 * s)


def _two_stages(rng: np.random.Generator) -> Callable[[Floats], Floats]:
    first, later = rng.uniform(0.3, 0.8), rng.uniform(1.3, 2.5)

    def raw(x: Floats) -> Floats:
        return first * _logistic((x - 0.5) / 0.12) + (1 - first) * _logistic((x - 0.5 * later) / 0.12)

    zero = raw(np.zeros(1))
    grid = np.linspace(0, 5, 5001)
    x95 = float(grid[np.argmax((raw(grid) - zero) / (1 - zero) >= 0.95)])

    def rise(s: Floats) -> Floats:
        curve: Floats = (raw(s * x95) - zero) / (1 - zero)
        return curve

    return rise


FAMILIES: dict[str, Family] = {
    "exponential": _exponential, "power": _power, "take-off": _take_off,
    "delayed": _delayed, "ramp": _ramp, "two stages": _two_stages,
}  # fmt: skip


def _logistic(x: Floats) -> Floats:
    curve: Floats = 1 / (1 + np.exp(-np.clip(x, -50.0, 50.0)))
    return curve
