"""How far apart evaluation points lie, and for how long nothing has improved.

``Backoff`` is the pure state machine that the rules use; ``BackoffScheduler`` the published class over it, for loops
of one's own: record what each evaluation was, ask for the state and the interval.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tensor_optix.core.fall_alarm import FallAlarm
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.statistics import noise_sd
from tensor_optix.core.types import LoopState


@dataclass(frozen=True)
class Backoff:
    """interval: ticks between evaluation points; misses: ticks in a row without improvement."""

    interval: int = 1
    misses: int = 0

    def after(self, improved: bool, config: LoopConfig) -> Backoff:
        """The state after one more tick."""
        if improved:
            return Backoff(config.base_interval)
        longer = min(math.ceil(self.interval * config.backoff_factor), config.max_interval_episodes)
        return Backoff(longer, self.misses + 1)

    def state(self, config: LoopConfig) -> LoopState:
        """ACTIVE, COOLING after a plateau, DORMANT when patience is used up."""
        if self.misses >= config.dormant_threshold:
            return LoopState.DORMANT
        if self.misses >= config.plateau_threshold:
            return LoopState.COOLING
        return LoopState.ACTIVE


class BackoffScheduler:
    """Spaces evaluations and notices a plateau, from what it is told of each evaluation.

    After each evaluation call ``record_score(score)``, then one of ``record_improvement``, ``record_non_improvement``
    and ``record_degradation``. The interval doubles (``backoff_factor``) with every evaluation that did not improve,
    up to ``max_interval_episodes``, and returns to ``base_interval`` with an improvement.

    A gain counts where it is larger than the margin: ``noise_k`` standard deviations of one score, estimated from the
    last ``score_window`` scores without their trend. A larger ``noise_k`` asks for larger gains, and so reaches
    DORMANT earlier.
    """

    def __init__(
        self,
        base_interval: int = 1,
        backoff_factor: float = 2.0,
        max_interval_episodes: int = 100,
        plateau_threshold: int = 5,
        dormant_threshold: int = 20,
        degradation_threshold: float = 0.95,
        min_degradation_drop: float = 1e-4,
        min_episodes_before_dormant: int = 0,
        min_episodes_before_degradation: int = 5,
        noise_k: float = 2.0,
        score_window: int = 20,
        trend_window: int = 8,
    ) -> None:
        self._config = LoopConfig(
            base_interval=base_interval, backoff_factor=backoff_factor, max_interval_episodes=max_interval_episodes,
            plateau_threshold=plateau_threshold, dormant_threshold=dormant_threshold,
            degradation_threshold=degradation_threshold, min_degradation_drop=min_degradation_drop,
            min_episodes_before_dormant=min_episodes_before_dormant,
            min_episodes_before_degradation=min_episodes_before_degradation, noise_k=noise_k,
            score_window=score_window, trend_window=trend_window,
        )  # fmt: skip
        self._scores: deque[float] = deque(maxlen=max(score_window, trend_window))
        self._best: float | None = None
        self._total = 0
        self._is_recorded = False  # whether the evaluation that is being reported has given its score already
        self.record_restart()

    # -- what happened -----------------------------------------------------------------------------------------

    def record_score(self, score: float) -> None:
        """An evaluation gave ``score``."""
        self._scores.append(float(score))
        self._total += 1
        self._is_recorded = True

    def record_improvement(self, score: float) -> None:
        """The evaluation was an improvement: back to ACTIVE and to the shortest interval."""
        if not self._is_recorded:
            self.record_score(score)
        self._best = float(score) if self._best is None else max(self._best, float(score))
        self._reported(Backoff(self._config.base_interval), LoopState.ACTIVE)

    def record_non_improvement(self) -> None:
        """The evaluation was none: a longer interval; COOLING, then DORMANT when patience is used up."""
        if not self._is_recorded:
            self._total += 1
        backoff = self._backoff.after(False, self._config)
        state = backoff.state(self._config)
        if state is LoopState.DORMANT and self._total < self._config.min_episodes_before_dormant:
            state = LoopState.COOLING
        self._reported(backoff, state)

    def record_degradation(self) -> None:
        """Scores have fallen: look closely again. What has been waited so far still counts."""
        self._reported(Backoff(self._config.base_interval, self._backoff.misses), LoopState.ACTIVE)

    def record_restart(self) -> None:
        """Go on with a fresh clock; the best score stays known."""
        self._scores.clear()
        self._fall = FallAlarm()
        self._reported(Backoff(self._config.base_interval), LoopState.ACTIVE)

    def _reported(self, backoff: Backoff, state: LoopState) -> None:
        self._backoff, self._state, self._is_recorded = backoff, state, False

    # -- what it means -----------------------------------------------------------------------------------------

    def is_improving(self) -> bool:
        """True when the trend over ``trend_window`` scores rises by more than the margin.

        With fewer than three scores: when the last one beats the best by more than the margin.
        """
        slope = self._slope
        if slope is None:
            best = -math.inf if self._best is None else self._best
            return bool(self._scores) and self._scores[-1] > best + self.margin
        return slope * self._config.trend_window > self.margin

    def is_degrading(self) -> bool:
        """True when the trend over ``trend_window`` scores falls by more than the margin."""
        slope = self._slope
        return slope is not None and -slope * self._config.trend_window > self.margin

    def check_degradation(self, score: float) -> bool:
        """True once, when ``score`` completes a fall below the best. Ask once for each evaluation."""
        if self._best is None or self._total < self._config.min_episodes_before_degradation:
            return False
        self._fall = self._fall.heard(self._best, float(score), self._noise, self._config)
        return self._fall.is_news

    def should_adapt(self, episode_count: int) -> bool:
        """True when an evaluation is due after ``episode_count`` episodes."""
        return episode_count % self._backoff.interval == 0

    @property
    def margin(self) -> float:
        """What a gain must exceed to count: max(min_degradation_drop, noise_k σ̂)."""
        return max(self._config.min_degradation_drop, self._config.noise_k * self._noise)

    @property
    def current_state(self) -> LoopState:
        return self._state

    @property
    def current_interval(self) -> int:
        return self._backoff.interval

    @property
    def consecutive_non_improvements(self) -> int:
        return self._backoff.misses

    @property
    def best_score(self) -> float | None:
        return self._best

    @property
    def total_episodes(self) -> int:
        """Evaluations recorded so far."""
        return self._total

    @property
    def _noise(self) -> float:
        return noise_sd(list(self._scores)[-self._config.score_window :])

    @property
    def _slope(self) -> float | None:
        """Least-squares slope per score; None for fewer than three."""
        recent = list(self._scores)[-self._config.trend_window :]
        return float(np.polyfit(np.arange(len(recent)), recent, 1)[0]) if len(recent) >= 3 else None

    # -- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs."""
        return {
            "scores": np.array(self._scores, dtype=float), "best": self._best, "total": self._total,
            "is_recorded": self._is_recorded, "state": self._state.name,
            "backoff": asdict(self._backoff), "fall": asdict(self._fall),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._scores.clear()
        self._scores.extend(state["scores"].tolist())
        self._best, self._total, self._is_recorded = state["best"], state["total"], state["is_recorded"]
        self._state = LoopState[state["state"]]
        self._backoff, self._fall = Backoff(**state["backoff"]), FallAlarm(**state["fall"])
