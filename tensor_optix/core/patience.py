"""The patience rule: a run is over after so many scores in a row without a gain above the noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from tensor_optix.core.backoff_scheduler import Backoff
from tensor_optix.core.ceiling import Ceiling
from tensor_optix.core.convergence import ConvergenceRule, Judgement, Tick
from tensor_optix.core.fall_alarm import BestLevel, FallAlarm
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.statistics import best_mean, noise_sd
from tensor_optix.core.types import LoopState, Verdict

ALARM_WINDOW = 100  # scores from which an alarm takes the noise, where that is more than in the last few


class PatienceRule(ConvergenceRule):
    """DORMANT after ``dormant_threshold`` ticks without improvement, at a ceiling, or when stuck.

    is_guarded: patience waits until learning has been seen. A run whose scores never left their starting level has
    not converged, it is stuck, and ends after ``stuck_after`` ticks.
    """

    def __init__(self, config: LoopConfig, *, is_guarded: bool = True) -> None:
        self._config = config
        self._is_guarded = is_guarded
        self.restart(is_new_agent=True)

    def restart(self, *, is_new_agent: bool) -> None:
        self._scores: list[float] = []
        self._best: float | None = None
        self._backoff = Backoff(self._config.base_interval)
        self._fall, self._level = FallAlarm(), BestLevel()
        if is_new_agent:
            self._learned = False
            self._ceiling = Ceiling()
        self._ceiling = replace(self._ceiling, streak=0)

    def state_dict(self) -> dict[str, Any]:
        return {
            "scores": np.array(self._scores, dtype=float),
            "best": self._best,
            "learned": self._learned,
            "backoff": asdict(self._backoff),
            "fall": asdict(self._fall),
            "level": self._level.state_dict(),
            "ceiling": self._ceiling.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scores = state["scores"].tolist()
        self._best, self._learned = state["best"], state["learned"]
        self._backoff, self._fall = Backoff(**state["backoff"]), FallAlarm(**state["fall"])
        self._level, self._ceiling = BestLevel.from_state(state["level"]), Ceiling.from_state(state["ceiling"])

    def judge(self, tick: Tick) -> Judgement:
        self._scores.append(tick.score)
        noise = noise_sd(self._scores[-self._config.score_window :])
        is_first = self._best is None
        improved, margin = self._improvement(tick.smoothed, noise)
        self._backoff = self._backoff.after(improved, self._config)
        self._learned = self._learned or has_learned(self._scores)
        self._ceiling = self._ceiling.after(tick.episodes)
        degraded = self._has_fallen(tick.score, max(noise, noise_sd(self._scores[-ALARM_WINDOW:])))
        state, verdict, explanation = self._conclusion(improved)
        evidence = {
            "noise": noise, "margin": margin, "misses": float(self._backoff.misses),
            "learned": float(self._learned), "ceiling_streak": float(self._ceiling.streak),
            "fall": self._fall.total,
        }  # fmt: skip
        news = improved and not is_first
        return Judgement(state, verdict, news, degraded, self._backoff.interval, explanation, evidence)

    def _improvement(self, smoothed: float, noise: float) -> tuple[bool, float]:
        margin = max(self._config.improvement_margin, self._config.noise_k * noise)
        improved = self._best is None or smoothed > self._best + margin
        if improved:
            self._best = smoothed
        return improved, margin

    def _has_fallen(self, score: float, noise: float) -> bool:
        level, self._level = self._level.value, self._level.after(score)
        if level is None or len(self._scores) <= self._config.min_episodes_before_degradation:
            return False
        self._fall = self._fall.heard(level, score, noise, self._config)
        return self._fall.is_news

    def _conclusion(self, improved: bool) -> tuple[LoopState, Verdict, str]:
        config, misses, ticks = self._config, self._backoff.misses, len(self._scores)
        if ticks >= config.min_episodes_before_dormant:
            if self._ceiling.is_reached and self._learned:
                return LoopState.DORMANT, Verdict.CEILING, self._ceiling.explanation
            if misses >= config.dormant_threshold and (self._learned or not self._is_guarded):
                verdict = Verdict.CONVERGED if self._learned else Verdict.STUCK
                return LoopState.DORMANT, verdict, f"{misses} scores in a row without a gain above the noise"
            if not self._learned and ticks >= config.stuck_after:
                return LoopState.DORMANT, Verdict.STUCK, f"no learning seen in {ticks} scores"
        state = self._backoff.state(config)
        state = LoopState.COOLING if state is LoopState.DORMANT else state
        verdict = Verdict.IMPROVING if improved else Verdict.FLAT
        return state, verdict, f"{misses} of {config.dormant_threshold} scores without a gain above the noise"


def has_learned(scores: Sequence[float], *, start: int = 2, width: int = 5, sigmas: float = 5.0) -> bool:
    """True when the best level seen lies clearly above the starting level.

        R = max mean of ``width`` consecutive scores - mean of the first ``start``
        R > 5 · sd · √(1 / start + 1 / width),    sd² = mean((y_i - y_{i-1})²) / 2   (von Neumann et al. 1941)

    This sd, unlike ``noise_sd``, sees rare jumps: a success now and then is not learning yet. Scores that never
    varied (R = 0) have not been learned, however high they are.
    """
    if len(scores) < start + width:
        return False
    gain = best_mean(scores, width) - float(np.mean(scores[:start]))
    sd = math.sqrt(float(np.mean(np.square(np.diff(scores)))) / 2)
    return gain > sigmas * sd * math.sqrt(1 / start + 1 / width)
