"""Every number that steers the loop, declared once with its default and checked at the border."""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import ConfigError, nearest

OFF_POLICY_DORMANT_THRESHOLD = 15
_FRACTIONS = (
    "max_time", "max_unsaved_minutes", "backoff_factor", "improvement_margin", "noise_k",
    "degradation_threshold", "min_degradation_drop", "target_score", "val_share", "diag_loss_spike_factor",
    "diag_entropy_floor", "diag_target_kl", "diag_epsilon_reset_value", "diag_epsilon_score_threshold",
)  # fmt: skip


@dataclass(frozen=True)
class LoopConfig:
    """Settings of one run. ``None`` means: no limit.

    Budget
        max_episodes: windows to collect and learn from. max_steps: environment steps (the window in which the
        limit is reached is finished). max_time: seconds.
    Patience (a tick is a window that carries a score)
        plateau_threshold, dormant_threshold: ticks in a row without improvement until COOLING and DORMANT.
        stuck_after: ticks without any learning seen until the run ends as stuck.
        min_episodes_before_dormant: never DORMANT before this many ticks.
        convergence: "evidence" (the run ends when it is improbable that more than 5 % is left to gain),
        "patience" (it ends after dormant_threshold ticks without a gain), or a ConvergenceRule. A plateau_threshold
        or dormant_threshold other than the default implies "patience".
    What counts as an improvement
        score_smoothing: ticks averaged before scores are compared. The smoothed score must beat the best one by
        ``max(improvement_margin, noise_k * noise)``; score_window: ticks from which the noise is estimated. A
        larger noise_k asks for larger gains, and so stops earlier.
    Evaluation points
        base_interval, backoff_factor, max_interval_episodes: windows between two evaluation points; grows with
        every tick that does not improve, returns to base_interval with an improvement.
    Alarm (scores have fallen below the best level)
        min_episodes_before_degradation: no alarm before this many ticks. degradation_threshold: left alone, a
        scale-free alarm adds up how far and for how long scores lie below; another value fires as soon as a score is
        below ``level - (1 - threshold) |level|``. min_degradation_drop: where given, falls up to this are none.
    rollback_on_degradation: on-policy agents go back to the best policy when a fall is confirmed, with half the
        learning rate, at most three times. (Off-policy agents go on; the best policy is kept to be handed out.)
    Validation
        val_deterministic: validate with the most probable action instead of acting as in training.
        val_episodes: complete env episodes of one validation (default: as many as fill the pipeline's window).
        val_share: a validation waits until the earlier ones have used at most this part of the run's env steps.
    target_score: a score at which it is told that the target is reached (default: the environment's own reward
    threshold, where scores are returns of env episodes); with ``stop_at_target`` the run ends there. target_metric:
    the metric that has to reach it, for example "success_rate", where it is not the score. Both are smoothed
    (``score_smoothing``).
    on_dormant: "stop", or "watch": keep acting without learning, and learn again when the policy has become worse.
    diagnostics: watch what ``learn`` returns and treat trouble (``DiagnosticController``; diag_*: its settings).
    trend_window: scores over which ``BackoffScheduler`` fits its trend.
    evaluation_episodes: env episodes of the closing evaluation on fresh seeds; 0 leaves it out.
    max_unsaved_minutes: the run ends with the error when commits have kept failing for that long (three failures in a
        row end it anyway); None: never for that reason.
    """

    max_episodes: int | None = None
    max_steps: int | None = None
    max_time: float | None = None
    base_interval: int = 1
    backoff_factor: float = 2.0
    max_interval_episodes: int = 100
    plateau_threshold: int = 5
    dormant_threshold: int = 20
    stuck_after: int = 300
    min_episodes_before_dormant: int = 0
    convergence: Any = "evidence"
    score_smoothing: int = 2
    improvement_margin: float = 0.0
    noise_k: float = 2.0
    score_window: int = 20
    min_episodes_before_degradation: int = 5
    degradation_threshold: float = 0.95
    min_degradation_drop: float = 1e-4
    trend_window: int = 8
    rollback_on_degradation: bool = False
    val_deterministic: bool = False
    val_episodes: int | None = None
    val_share: float = 1.0
    target_score: float | None = None
    target_metric: str | None = None
    stop_at_target: bool = False
    on_dormant: str = "stop"
    diagnostics: bool = True
    diag_loss_spike_factor: float = 5.0
    diag_entropy_floor: float | None = 0.05
    diag_target_kl: float | None = 0.02
    diag_epsilon_patience: int = 20
    diag_epsilon_reset_value: float = 0.3
    diag_epsilon_score_threshold: float = 20.0
    diag_min_episodes: int = 5
    evaluation_episodes: int = 20
    max_unsaved_minutes: float | None = 30.0

    def __post_init__(self) -> None:
        for name in ("base_interval", "max_interval_episodes", "plateau_threshold", "dormant_threshold",
                     "stuck_after", "score_smoothing", "score_window", "trend_window"):  # fmt: skip
            self._require(name, at_least=1)
        for name in ("max_episodes", "max_steps", "max_time", "min_episodes_before_dormant", "improvement_margin",
                     "noise_k", "min_episodes_before_degradation", "degradation_threshold", "min_degradation_drop",
                     "evaluation_episodes", "val_episodes", "val_share"):  # fmt: skip
            self._require(name, at_least=0)
        for name in ("diag_loss_spike_factor", "diag_epsilon_patience", "diag_epsilon_reset_value",
                     "diag_min_episodes"):  # fmt: skip
            self._require(name, at_least=0)
        for name in ("diag_entropy_floor", "diag_target_kl"):
            if getattr(self, name) is not None:
                self._require(name, at_least=0)
        for name in ("target_score", "diag_epsilon_score_threshold"):
            self._require(name, at_least=-math.inf)
        for name in ("rollback_on_degradation", "val_deterministic", "stop_at_target", "diagnostics"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.target_metric is not None and (not isinstance(self.target_metric, str) or self.target_score is None):
            raise ConfigError(f"target_metric is a metric's name beside a target_score, got {self.target_metric!r} "
                              f"and target_score {self.target_score!r}")  # fmt: skip
        if self.on_dormant not in ("stop", "watch"):
            raise ConfigError(f"on_dormant must be 'stop' or 'watch', got {self.on_dormant!r}")
        self._require("backoff_factor", at_least=1)
        if self.max_unsaved_minutes is not None:
            self._require("max_unsaved_minutes", at_least=0)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> LoopConfig:
        """A config from keywords. Raises ConfigError for an unknown name, with the nearest one."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                hint = nearest(name, known) or f" It knows: {', '.join(known)}."
                raise ConfigError(f"unknown setting {name!r}.{hint}")
        return cls(**settings)

    def adapted_to(self, agent: BaseAgent) -> LoopConfig:
        """This config with the agent's own defaults wherever the user left the general ones alone."""
        changes: dict[str, Any] = {}
        if self.min_episodes_before_dormant == 0:
            changes["min_episodes_before_dormant"] = agent.default_min_episodes_before_dormant
        if not agent.is_on_policy and self.dormant_threshold == default("dormant_threshold"):
            changes["dormant_threshold"] = OFF_POLICY_DORMANT_THRESHOLD
        return dataclasses.replace(self, **changes)

    @property
    def chooses_patience(self) -> bool:
        """True when the user asked for the plain patience rule, by name or by its thresholds."""
        thresholds = ("plateau_threshold", "dormant_threshold")
        return self.convergence == "patience" or any(getattr(self, t) != default(t) for t in thresholds)

    def _require(self, name: str, *, at_least: float) -> None:
        value = getattr(self, name)
        if value is None and default(name) is None:
            return
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ConfigError(f"{name} must be a finite number, got {value!r}")
        number = float(value)
        if name not in _FRACTIONS and not number.is_integer():
            raise ConfigError(f"{name} must be a whole number, got {value!r}")
        if number < at_least:
            raise ConfigError(f"{name} must be at least {at_least}, got {value!r}")
        object.__setattr__(self, name, number if name in _FRACTIONS else int(number))


def default(name: str) -> Any:
    """The default of a setting: one that equals it counts as left alone."""
    return LoopConfig.__dataclass_fields__[name].default
