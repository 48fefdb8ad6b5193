"""When to stop: a rule is told every tick and answers with a judgement.

For now the rule is patience on ticks, guarded by evidence that anything was learned at all, plus the ceiling rule:
nothing is left to gain when every episode runs into its time limit with one and the same, best return.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from tensor_optix.core.backoff_scheduler import Backoff
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.statistics import best_mean, noise_sd
from tensor_optix.core.types import EpisodeData, LoopState, Verdict
from tensor_optix.errors import ConfigError


@dataclass(frozen=True)
class EndedEpisode:
    """One finished env episode: its return, and whether only the time limit ended it."""

    episode_return: float
    truncated: bool


@dataclass(frozen=True)
class Tick:
    """What a rule is told: a policy's score, the smoothed score, and the env episodes that ended in its window."""

    score: float
    smoothed: float
    episodes: Sequence[EndedEpisode] = ()


@dataclass(frozen=True)
class Judgement:
    """What a rule answers. ``state`` DORMANT ends the run; ``evidence`` holds the numbers behind it."""

    state: LoopState
    verdict: Verdict
    improved: bool
    degraded: bool
    interval: int
    explanation: str
    evidence: dict[str, float] = field(default_factory=dict)


def judgement_state(judgement: Judgement | None) -> dict[str, Any] | None:
    """A judgement as JSON values."""
    if judgement is None:
        return None
    return {**asdict(judgement), "state": judgement.state.name, "verdict": judgement.verdict.value}


def judgement_from(state: dict[str, Any] | None) -> Judgement | None:
    """The inverse of ``judgement_state``."""
    if state is None:
        return None
    return Judgement(**{**state, "state": LoopState[state["state"]], "verdict": Verdict(state["verdict"])})


class ConvergenceRule(ABC):
    """Decides when nothing more is to be gained."""

    @abstractmethod
    def judge(self, tick: Tick) -> Judgement:
        """The judgement after one more tick."""

    @abstractmethod
    def restart(self, *, is_new_agent: bool) -> None:
        """Start a fresh clock: the run goes on, with a new budget or (``is_new_agent``) with another agent."""

    def state_dict(self) -> dict[str, Any]:
        """What an exact continuation needs. Default: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""


def rule_for(config: LoopConfig, *, is_guarded: bool) -> ConvergenceRule:
    """The rule that the settings ask for; is_guarded: patience alone may not end a run that has not learned."""
    if isinstance(config.convergence, ConvergenceRule):
        return config.convergence
    if config.convergence not in (None, "patience"):
        raise ConfigError(f"convergence must be None, 'patience' or a ConvergenceRule, got {config.convergence!r}")
    return PatienceRule(config, is_guarded=is_guarded)


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
        self._fall = FallAlarm()
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
            "ceiling": {**asdict(self._ceiling), "recent": [asdict(episode) for episode in self._ceiling.recent]},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scores = state["scores"].tolist()
        self._best, self._learned = state["best"], state["learned"]
        self._backoff, self._fall = Backoff(**state["backoff"]), FallAlarm(**state["fall"])
        recent = deque((EndedEpisode(**e) for e in state["ceiling"]["recent"]), maxlen=Ceiling.EPISODES)
        self._ceiling = Ceiling(**{**state["ceiling"], "recent": recent})

    def judge(self, tick: Tick) -> Judgement:
        self._scores.append(tick.score)
        noise = noise_sd(self._scores[-self._config.score_window :])
        is_first = self._best is None
        improved, margin = self._improvement(tick.smoothed, noise)
        self._backoff = self._backoff.after(improved, self._config)
        self._learned = self._learned or has_learned(self._scores)
        self._ceiling = self._ceiling.after(tick.episodes)
        degraded = self._has_fallen(max(noise, noise_sd(self._scores)))
        state, verdict, explanation = self._conclusion(improved)
        evidence = {
            "noise": noise, "margin": margin, "misses": float(self._backoff.misses),
            "learned": float(self._learned), "ceiling_streak": float(self._ceiling.streak),
        }  # fmt: skip
        news = improved and not is_first
        return Judgement(state, verdict, news, degraded, self._backoff.interval, explanation, evidence)

    def _improvement(self, smoothed: float, noise: float) -> tuple[bool, float]:
        margin = max(self._config.improvement_margin, self._config.noise_k * noise)
        improved = self._best is None or smoothed > self._best + margin
        if improved:
            self._best = smoothed
        return improved, margin

    def _has_fallen(self, noise: float) -> bool:
        if len(self._scores) <= max(self._config.min_episodes_before_degradation, FallAlarm.LEVEL_WIDTH):
            return False
        level = best_mean(self._scores[:-1], FallAlarm.LEVEL_WIDTH)
        self._fall = self._fall.after(level - self._scores[-1], noise)
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


@dataclass(frozen=True)
class Ceiling:
    """Watches for returns that cannot rise: all recent episodes truncated, with one return, the best ever seen.

    ``streak`` counts consecutive ticks at which that held. Whether anything was *learned* on the way is asked
    elsewhere: a policy that never solves MountainCar also ends every episode truncated at the same return.
    """

    EPISODES = 20
    TICKS = 2

    recent: deque[EndedEpisode] = field(default_factory=lambda: deque(maxlen=Ceiling.EPISODES))
    best: float = -np.inf
    streak: int = 0

    def after(self, episodes: Sequence[EndedEpisode]) -> Ceiling:
        """The state after one more tick."""
        recent = deque([*self.recent, *episodes], maxlen=self.EPISODES)
        best = max([self.best, *(episode.episode_return for episode in episodes)])
        at_the_top = [episode for episode in recent if episode.truncated and episode.episode_return == best]
        return Ceiling(recent, best, self.streak + 1 if len(at_the_top) == self.EPISODES else 0)

    @property
    def is_reached(self) -> bool:
        return self.streak >= self.TICKS

    @property
    def explanation(self) -> str:
        return (
            f"the last {self.EPISODES} episodes all ran into the time limit with a return of {self.best:g}, "
            "the best seen: nothing is left to gain"
        )


@dataclass(frozen=True)
class FallAlarm:
    """One-sided CUSUM on how far scores lie below the best level (Page 1954).

        S ← max(0, S + (level - y) / σ̂ - 2)        news when S first exceeds 10

    The allowance of 2 covers what a maximum over noisy levels over-reports; with σ̂ = 0 nothing is said.
    """

    LEVEL_WIDTH = 8
    ALLOWANCE = 2.0
    THRESHOLD = 10.0

    total: float = 0.0
    told: bool = False
    is_news: bool = False

    def after(self, shortfall: float, noise: float) -> FallAlarm:
        """The state after a score ``shortfall`` below the best level."""
        if noise <= 0:
            return replace(self, is_news=False)
        total = max(0.0, self.total + shortfall / noise - self.ALLOWANCE)
        told = self.told and total > 0
        is_news = total > self.THRESHOLD and not told
        return FallAlarm(total, told or is_news, is_news)


def ended_episodes(data: EpisodeData) -> list[EndedEpisode]:
    """The env episodes that ended in this window, in row order."""
    return [
        EndedEpisode(episode_return, data.truncated[row] and not data.terminated[row])
        for row, episode_return in zip(data.ended_rows, data.episode_returns, strict=False)
    ]
