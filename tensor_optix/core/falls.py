"""Scores have fallen: is that true, and what follows?"""

from __future__ import annotations

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.course import Course
from tensor_optix.core.ending import Ending
from tensor_optix.core.fall_watch import FallWatch
from tensor_optix.core.judging import Judging
from tensor_optix.core.keeping import Keeping
from tensor_optix.core.loop_config import LoopConfig, default
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.mid_run_evaluation import MidRunEvaluation
from tensor_optix.core.recovery import Recovery
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.selection import MIN_PAIRS
from tensor_optix.core.tuning import Tuning
from tensor_optix.core.types import EvalMetrics
from tensor_optix.core.window import Window


class Falls:
    """Has an alarm confirmed, tells what was found, and brings the best policy back where that was asked for."""

    def __init__(
        self,
        parts: LoopParts,
        config: LoopConfig,
        course: Course,
        tracker: ScoreTracker,
        keeping: Keeping,
        tuning: Tuning,
        judging: Judging,
        recovery: Recovery,
        announcer: Announcer,
    ) -> None:
        self._parts = parts
        self._may_roll_back = config.rollback_on_degradation and parts.agent.is_on_policy
        self._course = course
        self._tracker = tracker
        self._keeping = keeping
        self._tuning = tuning
        self._judging = judging
        self._recovery = recovery
        self._announcer = announcer
        is_literal = config.degradation_threshold != default("degradation_threshold")
        self.watch = FallWatch(is_literal=is_literal, is_paired=self._may_roll_back)

    def after(self, window: Window) -> tuple[Ending | None, bool]:
        """Whether the scores alone confirm a fall: ``(an ending, whether an older policy is back)``."""
        if window.judgement is None or window.metrics is None:
            return None, False
        decision = self.watch.heard(window.judgement, is_probing=self._tuning.is_probing)
        if decision is None:
            return None, False
        return self._answer(window, window.metrics, decision.explanation)

    def at_boundary(self, evaluation: MidRunEvaluation) -> Ending | None:
        """An alarm that waits is confirmed, or not, on fresh seeds that the present policy shares with the best."""
        best, parts, course = self._keeping.best, self._parts, self._course
        if best is None or not self.watch.waits_for_comparison(is_probing=self._tuning.is_probing):
            return None
        rng = parts.streams.stream("degradation")
        seeds = [int(seed) for seed in rng.integers(2**31, size=MIN_PAIRS)]
        decision = self.watch.compared(course.agent, best, parts.registry, seeds, evaluation.score)
        if decision is None:
            return None
        if not decision.is_confirmed:
            self._announcer.decided("not degraded", decision.explanation, course.standing)
            return None
        return self._answer(course.standing, self._tracker.history[-1], decision.explanation)[0]

    def _answer(self, window: Window, metrics: EvalMetrics, why: str) -> tuple[Ending | None, bool]:
        evidence = window.judgement.evidence if window.judgement else {}
        self._announcer.fallen(window, metrics, why, evidence)
        if not self._may_roll_back or self._keeping.best is None:
            return None, False
        if not self._recovery.is_possible:
            return self._recovery.given_up(why), False
        self._recovery.restore(why)
        self._judging.restart(is_new_agent=False)
        return None, True
