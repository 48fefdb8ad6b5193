"""What has P_k done in window k, and what score does that give it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from tensor_optix.core.course import Course
from tensor_optix.core.episode_counter import EpisodeCounter
from tensor_optix.core.interrupts import StopRequests
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.score_tracker import ScoreTracker, present
from tensor_optix.core.types import EpisodeData, EvalMetrics


class Collecting:
    """Takes windows from the pipeline one by one, counts what they cost, and scores them."""

    def __init__(self, parts: LoopParts, course: Course, tracker: ScoreTracker, requests: StopRequests) -> None:
        self._parts = parts
        self._course = course
        self._tracker = tracker
        self._requests = requests
        self._windows: Iterator[EpisodeData] = iter(())
        self.counter = EpisodeCounter()

    def begin(self) -> None:
        """A ``run()`` begins: the pipeline is set up."""
        self._windows = self._parts.pipeline.episodes()

    def end(self) -> None:
        """Tell a generator that nobody will ask again, so that it can tidy up."""
        if isinstance(self._windows, _Closable):
            self._windows.close()

    def window(self) -> EpisodeData | None:
        """The next window, collected by the agent that acts now; None where the pipeline has no more."""
        with self._requests.leaving_at_once():
            data = next(self._windows, None)
        if data is not None:
            self.counter.complete(data)
            totals = self._course.totals
            totals.env_steps += data.env_steps
            totals.steps_since_tick += data.env_steps
            totals.episodes_since_tick += len(data.episode_returns)
        return data

    def score(self, data: EpisodeData) -> EvalMetrics | None:
        """The evaluator's score of the window, on record from now on; None where there is nothing to score."""
        evaluator, diagnostics = self._parts.evaluator, self._course.tenure.diagnostics
        try:
            metrics = present(evaluator.score(data.for_reading(), diagnostics), evaluator=evaluator)
        except LookupError as error:
            if not diagnostics:
                error.add_note("no learn call has made this policy yet: its train_diagnostics are empty")
            raise
        if metrics is not None:
            self._tracker.add(metrics)
        return metrics


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> None: ...
