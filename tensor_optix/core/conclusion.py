"""What is the outcome of a run? From the reason why it ends to the result, with the best policy in the agent."""

from __future__ import annotations

from dataclasses import replace

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.closing import Closing
from tensor_optix.core.commit_guard import CommitGuard
from tensor_optix.core.confirmation import Confirmed
from tensor_optix.core.course import Course
from tensor_optix.core.ending import Ending
from tensor_optix.core.keeping import Keeping
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.run_files import CLOSING
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.tuning import Tuning
from tensor_optix.core.types import RunResult
from tensor_optix.core.weight_average import WeightAverage


class Conclusion:
    """Goes through the closing's steps in their order and tells what came out.

    episodes: of the final evaluation; 0 leaves out everything that costs env steps.
    """

    def __init__(
        self,
        parts: LoopParts,
        course: Course,
        closing: Closing,
        keeping: Keeping,
        tuning: Tuning,
        tracker: ScoreTracker,
        average: WeightAverage,
        guard: CommitGuard,
        announcer: Announcer,
        *,
        episodes: int,
    ) -> None:
        self._parts = parts
        self._course = course
        self._closing = closing
        self._keeping = keeping
        self._tuning = tuning
        self._tracker = tracker
        self._average = average
        self._guard = guard
        self._announcer = announcer
        self._episodes = episodes

    def after(self, ending: Ending) -> RunResult:
        """The result stands on disk before the best policy is evaluated: an error there loses nothing of it."""
        parts, course = self._parts, self._course
        self._keep_last()
        confirmed = self._confirm() if self._episodes else None
        self.hand_back()
        self._keeping.best = parts.registry.best
        result = self._closing.result(
            ending, course.standing, course.totals.judgement, self._keeping.best, confirmed,
            run_dir=parts.files.path, counts={**self._guard.health, **parts.callbacks.health},
        )  # fmt: skip
        parts.files.finished(result, status=CLOSING)
        return result

    def evaluated(self, result: RunResult) -> RunResult:
        """The result with the best policy's worth on fresh seeds, where there is time for it."""
        result = self._closing.evaluated(result, self._episodes, self._course.clock)
        self._parts.files.finished(result)
        evidence = {"reason": result.reason.value, "explanation": result.explanation}
        text = f"the run ended: {result.reason.value}"
        self._announcer.decided("stopped", text, self._course.standing, evidence)
        return result

    def hand_back(self) -> None:
        """The best policy, and no experiment, in the user's agent."""
        if self._closing.restore(self._parts.registry):
            self._tuning.settle(self._parts.agent)

    def _keep_last(self) -> None:
        """The policy of the last learn call joins the choice of the best, where it can be scored."""
        course = self._course
        last = self._closing.last_policy(course.tenure, evaluates=bool(self._episodes))
        if last is not None:
            metrics, selection = last
            metrics = replace(metrics, episode_id=course.totals.windows)  # the window that it would have collected
            self._keeping.after(replace(course.standing, metrics=metrics, selection=selection), course.tenure)

    def _confirm(self) -> Confirmed | None:
        """The most promising policies compete; the winner is the best from now on."""
        history = [(m.episode_id, m.primary_score) for m in self._tracker.history]
        averaged = self._closing.averaged(self._course.tenure, self._average, self._course.totals.windows)
        confirmed = self._closing.confirm(history, averaged)
        if confirmed is not None:
            self._announcer.decided("confirmed", confirmed.text, self._course.standing, confirmed.evidence)
        return confirmed
