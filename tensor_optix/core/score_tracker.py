"""The scores of a run, one per tick: raw, smoothed, and the one before."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.types import EvalMetrics
from tensor_optix.errors import ConfigError


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
        return self.smoothed_of(lambda metrics: metrics.primary_score)

    def smoothed_of(self, number: Callable[[EvalMetrics], float | None]) -> float | None:
        """Mean of another number over the same ticks, those left out that have none; None where none has it."""
        first = max(self._start, len(self.history) - self._smoothing)
        recent = [found for metrics in self.history[first:] if (found := number(metrics)) is not None]
        return math.fsum(recent) / len(recent) if recent else None

    @property
    def since_restart(self) -> list[float]:
        """The scores of the policies that followed each other, the last one's included; oldest first."""
        return [metrics.primary_score for metrics in self.history[self._start :]]

    @property
    def previous(self) -> float | None:
        """The score of the tick before the last one; None where another policy was followed then."""
        return self.history[-2].primary_score if len(self.history) > self._start + 1 else None

    def state_dict(self) -> dict[str, Any]:
        """The history, in columns: it grows by a row a tick, too long for JSON."""
        names = sorted({name for metrics in self.history for name in metrics.metrics})
        shape = (len(self.history), len(names))
        return {
            "start": self._start,
            "scores": np.array([metrics.primary_score for metrics in self.history]),
            "windows": np.array([metrics.episode_id for metrics in self.history], dtype=np.int64),
            "timestamps": np.array([metrics.timestamp for metrics in self.history]),
            "names": names,
            "values": np.array(
                [[m.metrics.get(name, np.nan) for name in names] for m in self.history], dtype=float
            ).reshape(shape),
            "measured": np.array([[name in m.metrics for name in names] for m in self.history], bool).reshape(shape),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        names, self._start = state["names"], int(state["start"])
        rows = zip(
            state["scores"].tolist(), state["windows"].tolist(), state["timestamps"].tolist(),
            state["values"].tolist(), state["measured"].tolist(), strict=True,
        )  # fmt: skip
        self.history = [
            EvalMetrics(score, {n: v for n, v, m in zip(names, values, measured, strict=True) if m}, window, time)
            for score, window, time, values, measured in rows
        ]


def present(metrics: Any, *, evaluator: BaseEvaluator) -> EvalMetrics | None:
    """What an evaluator returned, in plain types; None when it holds no score: no number, or not a finite one.

    Raises ConfigError when it returned something else altogether, or metrics that are no numbers.
    """
    if metrics is None:
        return None
    name = type(evaluator).__name__
    if not isinstance(metrics, EvalMetrics):
        raise ConfigError(
            f"{name} must return EvalMetrics or None, got {type(metrics).__name__}: "
            "wrap the number as EvalMetrics(primary_score=..., metrics={}, episode_id=...)"
        )
    score = _number(metrics.primary_score)
    if score is None or not math.isfinite(score):
        return None
    if not isinstance(metrics.metrics, Mapping):
        raise ConfigError(f"{name} must return metrics as a dict, got {metrics.metrics!r}")
    measured = {str(key): _number(value) for key, value in metrics.metrics.items()}
    window, timestamp = _number(metrics.episode_id), _number(metrics.timestamp)
    if odd := [key for key, value in measured.items() if value is None]:
        raise ConfigError(
            f"{name} must return metrics that are one number each, which {', '.join(map(repr, odd))} are not: "
            "give a mean, or an entry for each number"
        )
    if window is None or not window.is_integer() or timestamp is None:
        raise ConfigError(
            f"{name} must return the window's number and a time in seconds, "
            f"got episode_id={metrics.episode_id!r} and timestamp={metrics.timestamp!r}"
        )
    numbers = {key: value for key, value in measured.items() if value is not None}
    return EvalMetrics(score, numbers, int(window), timestamp)


def _number(value: Any) -> float | None:
    """``value`` as a plain float; None for text, for what is complex, for several numbers and the like."""
    if isinstance(value, str | bytes | complex) or np.ndim(value) != 0:
        return None
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind not in "biuf":
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
