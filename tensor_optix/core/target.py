"""Has the score that somebody is waiting for been reached?"""

from __future__ import annotations

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.course import Course
from tensor_optix.core.ending import Ending
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.reporting import of_training
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.types import EvalMetrics, StopReason
from tensor_optix.core.window import Window
from tensor_optix.errors import ConfigError


class Target:
    """Tells once that the target is reached, and ends the run there where that was asked for.

    score: None until somebody knows one; the environment's own threshold stands in for a user's. It is a return, so
    it says nothing of scores in another unit. Compared with it is a mean of the last scores: one lucky window is no
    target.
    """

    def __init__(
        self,
        config: LoopConfig,
        course: Course,
        evaluator: BaseEvaluator,
        tracker: ScoreTracker,
        announcer: Announcer,
    ) -> None:
        self.score = config.target_score
        self._is_a_return = config.target_score is None
        self._evaluator, self._tracker = evaluator, tracker
        self._metric = config.target_metric
        self._ends_the_run = config.stop_at_target
        self._course = course
        self._announcer = announcer

    def introduce(self, reward_threshold: float | None) -> None:
        """Once per loop: what the environment counts as solved. Raises ConfigError where the run should end at a
        target that nobody knows.
        """
        self.score = reward_threshold if self.score is None else self.score
        if self._ends_the_run and self.score is None:
            raise ConfigError("stop_at_target needs a target_score: the environment declares no reward threshold")

    def after(self, window: Window) -> None:
        """Look at the smoothed training score after a window, or at the metric that was asked for."""
        if self._is_a_return and not self._evaluator.scores_whole_episodes:
            return
        score, totals = self.score, self._course.totals
        reached = window.smoothed if self._metric is None else self._tracker.smoothed_of(self._metric_of)
        if score is None or window.train_score is None or reached is None or reached < score:
            return
        if totals.reached_target != score:
            totals.reached_target = score
            text = f"the {self._metric or 'score'} of {score:g} is reached"
            self._announcer.decided("target", text, window, {self._metric or "smoothed": reached})

    def _metric_of(self, metrics: EvalMetrics) -> float | None:
        assert self._metric is not None
        number: float | None = of_training(metrics.metrics, self._metric)
        return number

    @property
    def ending(self) -> Ending | None:
        """The run ends because the target is reached."""
        is_reached = self.score is not None and self._course.totals.reached_target == self.score
        if not (self._ends_the_run and is_reached):
            return None
        return Ending(StopReason.TARGET_SCORE, f"the target is reached: {self._metric or 'a score'} of {self.score:g}")
