"""What are the scores doing: going somewhere, staying where they are, or jumping about?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tensor_optix.core.policy.signals import FEWEST, line_slope, signals
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import ConfigError

TRENDING, RANGING, VOLATILE = "trending", "ranging", "volatile"


@dataclass(frozen=True)
class Regime:
    """label: "trending", "ranging" or "volatile". trend: gain per score, volatility: sd of the detrended scores,
    both in units of max(|mean score|, range of all scores so far). direction: "up", "down" or "none"."""

    label: str
    trend: float
    volatility: float

    @property
    def direction(self) -> str:
        """Where a trend goes."""
        if self.label != TRENDING:
            return "none"
        return "up" if self.trend > 0 else "down"

    @property
    def metrics(self) -> dict[str, float]:
        """As numbers, for a log: direction is 1, -1 or 0."""
        direction = {"up": 1.0, "down": -1.0, "none": 0.0}[self.direction]
        return {"trend": self.trend, "volatility": self.volatility, "direction": direction}


class RegimeDetector:
    """Looks at the last ``window`` scores.

        CV_detrended = std(scores - line through them) / scale          trend = slope of that line / scale

    Volatile above ``volatility_threshold``; otherwise trending where |trend| is above ``trend_threshold``, up or
    down alike; otherwise ranging. ``last`` holds what the last call saw.
    """

    def __init__(self, volatility_threshold: float = 0.15, trend_threshold: float = 0.05, window: int = 10) -> None:
        if window < FEWEST:
            raise ConfigError(f"window must be at least {FEWEST}, got {window}: fewer scores have no trend")
        self.volatility_threshold = volatility_threshold
        self.trend_threshold = trend_threshold
        self.window = window
        self.last = Regime(RANGING, 0.0, 0.0)

    def detect(self, metrics_history: Sequence[EvalMetrics]) -> str:
        """The label; "ranging" for fewer than three scores."""
        self.last = self.regime(metrics_history)
        return self.last.label

    def regime(self, metrics_history: Sequence[EvalMetrics]) -> Regime:
        """The label with its numbers."""
        seen = signals(metrics_history, self.window)
        if len(seen.score) < FEWEST:
            return Regime(RANGING, 0.0, 0.0)
        slope = line_slope(seen.score)
        x = np.arange(len(seen.score)) - (len(seen.score) - 1) / 2
        volatility = float(np.std(seen.score - seen.score.mean() - slope * x)) / seen.scale
        trend = slope / seen.scale
        if volatility > self.volatility_threshold:
            return Regime(VOLATILE, trend, volatility)
        return Regime(TRENDING if abs(trend) > self.trend_threshold else RANGING, trend, volatility)
