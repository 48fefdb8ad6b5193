"""What do the scores say of P_k, and is anything more to be gained?"""

from __future__ import annotations

from dataclasses import replace

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.convergence import Tick, ended_episodes
from tensor_optix.core.course import Course
from tensor_optix.core.ending import REASON_OF, Ending
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.outside_scores import Measured, OutsideScores
from tensor_optix.core.replay import told
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.types import EpisodeData, EvalMetrics, LoopState, StopReason, Verdict
from tensor_optix.core.validation_watch import ValidationWatch
from tensor_optix.core.window import Window


class Judging:
    """Puts the scores to the rules: the training signal to the run's own, validation to a second one."""

    def __init__(
        self, parts: LoopParts, course: Course, tracker: ScoreTracker, outside: OutsideScores, announcer: Announcer
    ) -> None:
        self._parts = parts
        self._course = course
        self._tracker = tracker
        self._outside = outside
        self._announcer = announcer
        self.val_watch = ValidationWatch(parts.val_rule) if parts.val_rule else None

    def restart(self, *, is_new_agent: bool) -> None:
        """A fresh clock for every rule. is_new_agent: of this one it is not known that it has learned anything."""
        totals = self._course.totals
        self._parts.rule.restart(is_new_agent=is_new_agent)
        if self.val_watch is not None:
            self.val_watch.restart(is_new_agent=is_new_agent)
        totals.restart = "new" if is_new_agent or totals.restart == "new" else "same"

    def window(self, data: EpisodeData, train: EvalMetrics | None, measured: Measured) -> Window:
        """The window with what the rule says of its score, and with what its policy is chosen by."""
        course, smoothed = self._course, self._tracker.smoothed
        totals, judgement, record = course.totals, None, None
        if train is not None and smoothed is not None and not course.agent.warming_up:
            tick = Tick(train.primary_score, smoothed, ended_episodes(data))
            record, totals.restart = told(tick, totals.restart), ""
            judgement = totals.judgement = self._parts.rule.judge(tick)
            if judgement.improved:
                self._parts.tuner.on_improvement(train)
        metrics = self._outside.combined(train, measured, totals.windows)
        selection = self._outside.selection(train, measured)
        if train is not None:
            self._outside.ticked(judgement)
        window = replace(
            course.standing, metrics=metrics, smoothed=smoothed, judgement=judgement,
            train_score=train.primary_score if train else None, selection=selection, told=record,
        )  # fmt: skip
        self._announcer.judged(window)
        course.tenure.is_scored = selection is not None
        return window

    def ending(self, window: Window) -> Ending | None:
        """Why the run is to end after this window: one of the rules says so."""
        ending, judgement = self._overfitting(window), window.judgement
        if judgement is not None and judgement.state is LoopState.DORMANT:
            ending = Ending(REASON_OF[judgement.verdict], judgement.explanation, may_continue=True)
        if ending is None:
            return None
        self._parts.tuner.on_plateau(self._tracker.history)
        self._parts.callbacks.call("on_dormant", window.number)
        return ending

    def _overfitting(self, window: Window) -> Ending | None:
        """Whether validation says that nothing more is to be gained, whatever the training score does."""
        watch, smoothed = self.val_watch, self._outside.smoothed
        is_validated = window.selection is not None and self._outside.unit == "validation"
        if watch is None or smoothed is None or not is_validated:
            return None
        why = watch.heard(float(window.selection or 0.0), smoothed)
        if why is None:
            return None
        totals = self._course.totals
        if totals.judgement is not None:
            totals.judgement = replace(
                totals.judgement, state=LoopState.DORMANT, verdict=Verdict.OVERFITTING, explanation=why
            )
        self._announcer.decided("overfitting", why, window, {"scores": [s for _, s in self._outside.scores[-20:]]})
        return Ending(StopReason.OVERFITTING, why, may_continue=True)
