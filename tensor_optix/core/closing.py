"""How a run ends: the last policy scored, the best one restored, and its worth on fresh seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

from tensor_optix.core.budget import RunClock
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.confirmation import Confirmation, Confirmed, Series
from tensor_optix.core.convergence import Judgement
from tensor_optix.core.ending import Ending
from tensor_optix.core.final_evaluation import FinalEvaluation
from tensor_optix.core.interrupts import StopRequests, WindowAbandoned
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.outside_scores import OutsideScores
from tensor_optix.core.resume import resume_level
from tensor_optix.core.tenure import Tenure
from tensor_optix.core.types import EvalMetrics, PolicySnapshot, RunResult, Verdict
from tensor_optix.core.weight_average import WeightAverage
from tensor_optix.core.window import Window
from tensor_optix.errors import CheckpointError, EnvError

AVERAGED = "averaged_policies"
"""A metric that only the mean of several policies has: of how many."""


class Closing:
    """The steps after the last window, for the agent that the user gave."""

    def __init__(self, parts: LoopParts, outside: OutsideScores, requests: StopRequests) -> None:
        self._parts = parts
        self._outside = outside
        self._requests = requests
        self._evaluation = FinalEvaluation(parts.pipeline, parts.evaluator, parts.streams, requests)
        held_out = parts.val_pipeline or parts.pipeline
        self._comparison = FinalEvaluation(held_out, parts.evaluator, parts.streams, requests)
        self._is_restored = True
        self._validation_steps = 0  # of the last policy

    def restart(self) -> None:
        """Another run begins: the agent's policy is about to change."""
        self._evaluation.restart()
        self._comparison.restart()
        self._is_restored = False
        self._validation_steps = 0

    @property
    def notes(self) -> list[str]:
        """What could not be done, and why; others may add to it."""
        return self._evaluation.notes

    def last_policy(self, tenure: Tenure, *, evaluates: bool) -> tuple[EvalMetrics, float] | None:
        """The score of the policy of the last learn call, and what it is chosen by: it joins the choice of the best.

        None where it has a score already, or cannot have one.
        """
        if tenure.is_scored or not evaluates or self._requests.by_signal:
            return None
        tenure.is_scored = True
        if self._outside.unit == "training":
            metrics = self._evaluation.last_policy(tenure.agent)
            return None if metrics is None else (metrics, metrics.primary_score)
        before = self._outside.steps
        try:
            measured = self._outside.measure(tenure.agent)
        except (WindowAbandoned, EnvError) as error:
            self.notes.append(f"the last policy could not be evaluated: {str(error) or 'interrupted'}")
            return None
        finally:
            self._validation_steps += self._outside.steps - before
        combined, selection = self._outside.combined(None, measured, -1), self._outside.selection(None, measured)
        return None if combined is None or selection is None else (combined, selection)

    def averaged(self, tenure: Tenure, average: WeightAverage, window: int) -> PolicySnapshot | None:
        """The mean of the cool-down's policies as one more candidate; nobody has scored it, so it ranks last.

        Closing ``window`` may have been begun before, by a process that was killed in it: then it is there already.
        """
        registry = self._parts.registry
        snapshots = registry.snapshots
        is_comparable = self._outside.unit != "external" and not self._requests.by_signal
        if not (average.is_ready and is_comparable and len(snapshots) > 1):
            return None
        known = (s for s in snapshots if s.episode_id == window and AVERAGED in s.eval_metrics.metrics)
        if (again := next(known, None)) is not None:
            return again
        average.put_into(tenure.agent)
        last = math.nextafter(snapshots[-1].rank, -math.inf)  # of equals the later would be the best
        metrics = EvalMetrics(last, {AVERAGED: float(average.n_policies)}, window)
        promise = max(snapshot.promise for snapshot in snapshots)  # so that it is kept until it has been compared
        try:
            return registry.save(tenure.agent, metrics, tenure.made_by, posterior_score=promise)
        except CheckpointError as error:
            self.notes.append(f"the averaged policy could not be kept: {error}")
            return None

    def confirm(self, history: Series, averaged: PolicySnapshot | None = None) -> Confirmed | None:
        """Let the best few compete on fresh seeds; the winner is the registry's best from now on.

        history: the training scores. A score function of the user's decides by itself: nothing overrides it.
        """
        if self._outside.unit == "external" or self._requests.by_signal:
            return None
        series = history if self._outside.unit == "training" else self._outside.scores
        confirmation = Confirmation(self._parts.registry, self._comparison, self._parts.streams)
        confirmed = confirmation.winner(self._parts.agent, series, averaged)
        if confirmed is not None:
            self._parts.registry.choose(confirmed.snapshot)
        return confirmed

    def restore(self, registry: CheckpointRegistry) -> bool:
        """Bring the best policy back into the agent, once; True when this was the time."""
        if self._is_restored:
            return False
        self._is_restored = True
        registry.load_best(self._parts.agent)
        return True

    def result(
        self,
        ending: Ending,
        standing: Window,
        judgement: Judgement | None,
        best: PolicySnapshot | None,
        confirmed: Confirmed | None,
        *,
        run_dir: Path,
        counts: Mapping[str, int],
    ) -> RunResult:
        """What is known before the final evaluation."""
        return RunResult(
            reason=ending.reason,
            verdict=judgement.verdict if judgement else Verdict.FLAT,
            explanation=ending.explanation,
            score=_score_when_chosen(best, confirmed),
            final=None,
            windows=standing.number,
            env_steps=standing.env_steps,
            evaluation_steps=self._steps,
            seconds=standing.seconds,
            run_dir=run_dir,
            best_snapshot=best,
            seed=self._parts.streams.seed,
            notes=self._notes(),
            health={**self._parts.pipeline.health, **counts},
            resume=resume_level(self._parts.agent, self._parts.pipeline),
        )

    def evaluated(self, result: RunResult, episodes: int, clock: RunClock) -> RunResult:
        """``result`` with the best policy's score on fresh seeds. After a signal there is no time for it."""
        if result.best_snapshot is None or not episodes or self._requests.by_signal:
            return result
        final = self._evaluation.best_policy(self._parts.agent, episodes)
        return dataclasses.replace(
            result, final=final, evaluation_steps=self._steps, seconds=clock.seconds, notes=self._notes()
        )

    @property
    def _steps(self) -> int:
        return self._evaluation.steps + self._comparison.steps + self._validation_steps

    def _notes(self) -> tuple[str, ...]:
        health = self._parts.pipeline.health
        repairs = (f"{name.replace('_', ' ')}: {count}" for name, count in health.items() if count)
        return (*dict.fromkeys([*self._evaluation.notes, *self._comparison.notes]), *repairs)


def _score_when_chosen(best: PolicySnapshot | None, confirmed: Confirmed | None) -> float | None:
    """No window scored the mean of several policies: what chose it is its mean in the comparison."""
    if best is None or AVERAGED not in best.eval_metrics.metrics:
        return best.rank if best else None
    return confirmed.mean if confirmed is not None and confirmed.snapshot == best else None
