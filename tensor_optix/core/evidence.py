"""The evidence rule: a run is over when it is improbable that more than 5 % of what it can learn is still to come."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from tensor_optix.core.backoff_scheduler import Backoff
from tensor_optix.core.ceiling import Ceiling
from tensor_optix.core.check import DOUBT_LEFT, FIRST_CHECK, RECENT, SHARE_LEFT, Evidence, next_check, weigh
from tensor_optix.core.convergence import ConvergenceRule, Judgement, Tick
from tensor_optix.core.cooldown import Cooldown, Phase
from tensor_optix.core.fall_alarm import BestLevel, FallAlarm
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.statistics import spread
from tensor_optix.core.types import LoopState, Verdict

MIN_COLLAPSED_TICKS = 50
COLLAPSED_SHARE = 1.5  # of the ticks that it took to get up there


class EvidenceRule(ConvergenceRule):
    """DORMANT when the evidence says that next to nothing is left to gain, at a ceiling, when stuck or collapsed.

    Looks closely on a geometric grid of ticks only; in between a tick costs microseconds. A run that has not
    learned is never called converged: it is stuck, after ``stuck_after`` ticks.

    cools_down: end with a real cool-down (``cooldown.Cooldown``), which the caller must carry out: each judgement
    says in ``cooldown`` what the learning rate is to be multiplied by.
    """

    def __init__(self, config: LoopConfig, *, cools_down: bool = False) -> None:
        self._config = config
        self._cools_down = cools_down
        self._forget()

    def restart(self, *, is_new_agent: bool) -> None:
        """A fresh clock. The curve of an agent that goes on stays known, but it must be flat anew."""
        if is_new_agent:
            self._forget()
        else:
            self._begin_clock(len(self._scores))

    def _forget(self) -> None:
        self._scores: list[float] = []
        self._evidence = Evidence()
        self._learned = False
        self._alarm_noise = 0.0  # σ̂; never below the spread of all scores before learning is established
        self._ceiling = Ceiling()
        self._begin_clock(0)

    def _begin_clock(self, tick: int) -> None:
        self._start, self._next_check = tick, next_check(tick)
        self._doubt = 1.0
        self._best: float | None = None
        self._backoff = Backoff(self._config.base_interval)
        self._level = BestLevel()
        self._fall, self._fell_at = FallAlarm(), -1
        self._cooldown = Cooldown()
        self._grounds = ""  # why the run counts as converged, as it was when that was decided
        self._ceiling = replace(self._ceiling, streak=0)

    # -- one tick ----------------------------------------------------------------------------------------------

    def judge(self, tick: Tick) -> Judgement:
        self._scores.append(tick.score)
        self._ceiling = self._ceiling.after(tick.episodes)
        if len(self._scores) >= self._next_check or (self._ceiling.is_reached and len(self._scores) >= FIRST_CHECK):
            self._check()
        degraded = self._has_fallen(tick.score)
        is_first = self._best is None
        improved, margin = self._improvement(tick.smoothed)
        self._backoff = self._backoff.after(improved, self._config)
        self._cool()
        state, verdict, explanation = self._conclusion(improved)
        return Judgement(
            state, verdict, improved and not is_first, degraded, self._backoff.interval, explanation,
            self._numbers(margin), self._cooldown.learning_rate_factor(len(self._scores)),
        )  # fmt: skip

    def _check(self) -> None:
        self._evidence = weigh(self._scores, smallest_gain=self._config.improvement_margin)
        self._learned = self._learned or self._evidence.has_learned
        floor = 0.0 if self._learned else spread(np.asarray(self._scores))
        self._alarm_noise = max(self._evidence.noise, floor)
        if len(self._scores) >= self._next_check:
            self._doubt = self._evidence.doubt_after(self._doubt)
            self._next_check = next_check(len(self._scores))

    def _improvement(self, smoothed: float) -> tuple[bool, float]:
        margin = max(self._config.improvement_margin, self._config.noise_k * self._evidence.noise)
        improved = self._best is None or smoothed > self._best + margin
        if improved:
            self._best = smoothed
        return improved, margin

    def _has_fallen(self, score: float) -> bool:
        level, self._level = self._level.value, self._level.after(score)
        ticks = len(self._scores)
        if level is None or ticks - self._start <= self._config.min_episodes_before_degradation:
            return False
        self._fall = self._fall.heard(level, score, self._alarm_noise, self._config)
        if self._fall.is_news:
            self._fell_at = ticks
        elif not self._fall.told:
            self._fell_at = -1
        return self._fall.is_news

    def _cool(self) -> None:
        """Move the cool-down on; begin it where the evidence has come together, give it up where scores fall."""
        if self._cooldown.is_on:
            self._go_on_cooling()
        elif self._has_converged:
            self._grounds = self._summary
            if self._cools_down and self._cooldown.phase is Phase.OFF:
                ticks = len(self._scores)
                recent = self._scores[-max(5, int(RECENT * ticks) // 2) :]
                self._cooldown = self._cooldown.begun(
                    ticks, level=float(np.mean(recent)), tolerance=self._evidence.tolerance
                )

    def _go_on_cooling(self) -> None:
        recent = self._scores[self._cooldown.start :]
        error = self._evidence.noise / len(recent) ** 0.5
        if self._fell_at >= 0:
            self._cooldown = Cooldown(revocations=self._cooldown.revocations)
        else:
            self._cooldown = self._cooldown.after(len(self._scores), level=float(np.mean(recent)), error=error)
        if self._cooldown.phase is Phase.OFF:
            self._doubt = 1.0

    # -- what follows ------------------------------------------------------------------------------------------

    @property
    def _has_converged(self) -> bool:
        """Little enough doubt, at enough ticks of this clock, about a run that has not just fallen."""
        ticks = len(self._scores) - self._start
        is_ripe = ticks >= max(self._config.min_episodes_before_dormant, math.ceil(0.2 * self._start))
        return self._doubt < DOUBT_LEFT and is_ripe and self._fell_at < 0

    def _conclusion(self, improved: bool) -> tuple[LoopState, Verdict, str]:
        ticks = len(self._scores) - self._start
        may_end = ticks >= self._config.min_episodes_before_dormant
        if may_end and self._ceiling.is_reached and self._learned:
            return LoopState.DORMANT, Verdict.CEILING, self._ceiling.explanation
        if self._cooldown.is_on:
            return LoopState.COOLING, Verdict.FLAT, f"cool-down: {self._cooldown.phase.value}; {self._summary}"
        if self._cooldown.phase is Phase.SETTLED or (self._has_converged and not self._cools_down):
            return LoopState.DORMANT, Verdict.CONVERGED, self._grounds
        if may_end and not self._learned and ticks >= self._config.stuck_after:
            return LoopState.DORMANT, Verdict.STUCK, f"no learning seen in {ticks} scores"
        if may_end and self._has_collapsed:
            n = len(self._scores) - self._fell_at
            return LoopState.DORMANT, Verdict.COLLAPSED, f"scores fell {n} scores ago and have not come back"
        is_rising = improved or self._evidence.is_rising
        return LoopState.ACTIVE, Verdict.IMPROVING if is_rising else Verdict.FLAT, self._summary

    @property
    def _has_collapsed(self) -> bool:
        """Longer below than it took to get up there: what was lost is not being learned again."""
        if not self._learned or self._fell_at < 0:
            return False
        below = len(self._scores) - self._fell_at
        return below >= max(MIN_COLLAPSED_TICKS, COLLAPSED_SHARE * self._fell_at)

    @property
    def _summary(self) -> str:
        evidence = self._evidence
        if not evidence.has_learned:
            return f"{len(self._scores)} scores, no learning established yet"
        bound, tolerance = evidence.bound / evidence.range, evidence.tolerance / evidence.range
        return (
            f"probability {evidence.p_done:.2f} that less than {SHARE_LEFT:.0%} of the gain is left; "
            f"the last {RECENT:.0%} of {len(self._scores)} scores gained at most {max(0.0, bound):.1%} of the range "
            f"learned ({tolerance:.1%} counts as none)"
        )

    def _numbers(self, margin: float) -> dict[str, float]:
        return {
            **vars(self._evidence), "margin": margin, "misses": float(self._backoff.misses),
            "learned": float(self._learned), "ceiling_streak": float(self._ceiling.streak),
            "doubt": self._doubt, "fall": self._fall.total,
        }  # fmt: skip

    # -- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "scores": np.array(self._scores, dtype=float), "evidence": asdict(self._evidence),
            "learned": self._learned, "alarm_noise": self._alarm_noise,
            "start": self._start, "next_check": self._next_check,
            "doubt": self._doubt, "best": self._best, "backoff": asdict(self._backoff),
            "level": self._level.state_dict(), "fall": asdict(self._fall), "fell_at": self._fell_at,
            "grounds": self._grounds,
            "cooldown": {**asdict(self._cooldown), "phase": self._cooldown.phase.value},
            "ceiling": self._ceiling.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scores, self._evidence = state["scores"].tolist(), Evidence(**state["evidence"])
        self._learned, self._alarm_noise = state["learned"], state["alarm_noise"]
        self._start, self._next_check = state["start"], state["next_check"]
        self._doubt, self._best, self._fell_at = state["doubt"], state["best"], state["fell_at"]
        self._grounds = state["grounds"]
        self._backoff, self._fall = Backoff(**state["backoff"]), FallAlarm(**state["fall"])
        self._level, self._ceiling = BestLevel.from_state(state["level"]), Ceiling.from_state(state["ceiling"])
        self._cooldown = Cooldown(**{**state["cooldown"], "phase": Phase(state["cooldown"]["phase"])})
