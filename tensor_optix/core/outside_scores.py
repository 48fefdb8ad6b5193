"""What is P_k worth on data that it never learns from, when is that worth finding out, and what is it chosen by?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tensor_optix.core.backoff_scheduler import Backoff
from tensor_optix.core.base_agent import BaseAgent, given_object
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.convergence import Judgement
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.types import EvalMetrics
from tensor_optix.core.validation import Validation
from tensor_optix.errors import ConfigError

ScoreFn = Callable[[Any], Any]


@dataclass(frozen=True)
class Measured:
    """What was found out about one policy besides the score of its own window; None: nothing."""

    validation: EvalMetrics | None = None
    external: float | None = None


class OutsideScores:
    """Evaluates P_k where it is due, before window k is collected, and says what policies are chosen by.

    unit: "external" where there is ``external``, else "validation" where there is one, else "training". It holds for
    the whole run: scores of different units are never compared. Evaluations are spaced in ticks: the interval grows
    with every evaluation before which training had not improved, and is short again as soon as it has.
    """

    def __init__(
        self,
        evaluator: BaseEvaluator,
        validation: Validation | None = None,
        external: ScoreFn | None = None,
        *,
        config: LoopConfig,
    ) -> None:
        self._evaluator = evaluator
        self._validation = validation
        self._external = external
        self.unit = "external" if external else "validation" if validation else "training"
        self._series = ScoreTracker(config.score_smoothing)
        self._ticks_since: int | None = None
        self._config = config
        self._backoff = Backoff(config.base_interval)
        self._improved = True  # in training, since the last evaluation
        self._number = 0  # of the next evaluation
        self._measured_for: int | None = None
        self._measured = Measured()
        self._first = 0  # of the scores that belong to the policies followed now

    @property
    def steps(self) -> int:
        """Env steps that validation has used."""
        return self._validation.steps if self._validation else 0

    @property
    def history(self) -> list[EvalMetrics]:
        """What ``combined`` gave for each policy that was evaluated, oldest first."""
        return self._series.history

    @property
    def scores(self) -> list[tuple[int, float]]:
        """(window, score in the run's unit) of each policy that was evaluated, oldest first."""
        name = "external_score" if self.unit == "external" else "val_score"
        return [(m.episode_id, m.metrics[name]) for m in self.history if name in m.metrics]

    @property
    def scores_since_restart(self) -> list[float]:
        """Of the policies that followed each other; oldest first."""
        return [score for _, score in self.scores[self._first :]]

    @property
    def smoothed(self) -> float | None:
        """Mean of the last few of them."""
        return self._series.smoothed

    def restart(self) -> None:
        """Another policy takes over: it is evaluated at once."""
        self._ticks_since, self._measured_for = None, None
        self._backoff, self._improved = Backoff(self._config.base_interval), True
        self._series.restart()
        self._first = len(self.scores)

    def at_boundary(self, agent: BaseAgent, window: int, env_steps: int) -> Measured:
        """Evaluate the policy that is about to collect ``window``, if that is due. A resumed run does it once.

        env_steps: of the run so far, of which validation may use its share.
        """
        if self.unit == "training" or self._measured_for == window:
            return self._measured
        is_due = self._ticks_since is None or self._ticks_since >= self._backoff.interval
        is_due = is_due and self._has_share(env_steps) and not agent.warming_up
        measured = self.measure(agent) if is_due else Measured()
        if measured != Measured():
            self._ticks_since = 0
            self._backoff, self._improved = self._backoff.after(self._improved, self._config), False
        self._measured, self._measured_for = measured, window
        return measured

    def measure(self, agent: BaseAgent) -> Measured:
        """The scores of a policy; of nothing that happens here does training see anything."""
        validation = self._validation.score(agent, self._number) if self._validation else None
        external = self._external_score(agent) if self._external else None
        self._number += 1
        return Measured(validation, external)

    def ticked(self, judgement: Judgement | None) -> None:
        """One more tick of the training signal."""
        if self._ticks_since is not None:
            self._ticks_since += 1
        if judgement is not None and judgement.improved:
            self._backoff, self._improved = Backoff(self._config.base_interval), True

    def combined(self, train: EvalMetrics | None, measured: Measured, window: int) -> EvalMetrics | None:
        """All that is known of a policy as one record, in the evaluator's unit; None without any score."""
        metrics, validation = train, measured.validation
        if validation is not None:
            validation = replace(validation, episode_id=window)
            if train is not None:
                metrics = self._labelled(self._evaluator.combine(train, validation))
                metrics = replace(metrics, metrics={**metrics.metrics, "val_score": validation.primary_score})
            else:
                found = {f"val_{name}": value for name, value in validation.metrics.items()}
                metrics = replace(validation, metrics=found | {"val_score": validation.primary_score})
        if measured.external is not None:
            external = measured.external
            metrics = metrics or EvalMetrics(external, {}, window)
            metrics = replace(metrics, metrics={**metrics.metrics, "external_score": external})
        if metrics is not None and measured != Measured():
            self._series.add(metrics)
        return metrics

    def selection(self, train: EvalMetrics | None, measured: Measured) -> float | None:
        """What the policy is chosen by; None where this one has no score in the run's unit."""
        if self.unit == "external":
            return measured.external
        metrics = measured.validation if self.unit == "validation" else train
        return None if metrics is None else metrics.primary_score

    def _has_share(self, env_steps: int) -> bool:
        return self._validation is None or self._validation.steps <= self._config.val_share * env_steps

    def _labelled(self, metrics: EvalMetrics) -> EvalMetrics:
        """Greedy validation against sampled training is no generalization gap, and must not be taken for one."""
        if self._validation is None or not self._validation.deterministic:
            return metrics
        labels = {"generalization_gap": "deterministic_gap", "train_score": "train_score_sampled"}
        return replace(metrics, metrics={labels.get(name, name): v for name, v in metrics.metrics.items()})

    def _external_score(self, agent: BaseAgent) -> float | None:
        assert self._external is not None
        score = self._external(given_object(agent))
        agent.reset_cache()
        if score is None:
            return None
        if isinstance(score, str | bytes | bool) or np.ndim(score) != 0 or np.iscomplexobj(score):
            raise ConfigError(f"checkpoint_score_fn must return one number, got {score!r}")
        try:
            number = float(score)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"checkpoint_score_fn must return one number, got {score!r}") from error
        return number if math.isfinite(number) else None

    # -- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The series so far, and what has been measured for the window that comes next."""
        if self.unit == "training":
            return {}
        return {
            "series": self._series.state_dict(),
            "ticks_since": self._ticks_since, "backoff": asdict(self._backoff), "improved": self._improved,
            "number": self._number,
            "measured_for": self._measured_for, "first": self._first,
            "measured": asdict(self._measured),
            "validation": self._validation.state_dict() if self._validation else None,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        if self.unit == "training":
            return
        self._series.load_state_dict(state["series"])
        self._ticks_since, self._improved = state["ticks_since"], state["improved"]
        self._backoff = Backoff(**state["backoff"])
        self._number, self._measured_for, self._first = state["number"], state["measured_for"], state["first"]
        self._measured = Measured(_metrics_from(state["measured"]["validation"]), state["measured"]["external"])
        if self._validation is not None:
            self._validation.load_state_dict(state["validation"])


def _metrics_from(state: Mapping[str, Any] | None) -> EvalMetrics | None:
    return None if state is None else EvalMetrics(**state)
