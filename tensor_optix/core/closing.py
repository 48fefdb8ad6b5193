"""How a run ends: the last policy scored, the best one restored, and its worth on fresh seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.budget import RunClock
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.convergence import Judgement
from tensor_optix.core.final_evaluation import FinalEvaluation
from tensor_optix.core.interrupts import StopRequests
from tensor_optix.core.resume import resume_level
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.tenure import Tenure
from tensor_optix.core.types import EvalMetrics, PolicySnapshot, RunResult, StopReason, Verdict
from tensor_optix.core.window import Window


@dataclass(frozen=True)
class Ending:
    """Why a run ends, and an explanation for people. may_continue: a callback may go on with another agent."""

    reason: StopReason
    explanation: str
    may_continue: bool = False


class Closing:
    """The steps after the last window, for the agent that the user gave."""

    def __init__(
        self,
        agent: BaseAgent,
        pipeline: BasePipeline,
        evaluator: BaseEvaluator,
        streams: RandomStreams,
        requests: StopRequests,
    ) -> None:
        self._agent = agent
        self._pipeline = pipeline
        self._streams = streams
        self._requests = requests
        self._evaluation = FinalEvaluation(pipeline, evaluator, streams, requests)
        self._is_restored = True

    def restart(self) -> None:
        """Another run begins: the agent's policy is about to change."""
        self._evaluation.restart()
        self._is_restored = False

    @property
    def notes(self) -> list[str]:
        """What could not be done, and why; others may add to it."""
        return self._evaluation.notes

    def score_of_last_policy(self, tenure: Tenure) -> EvalMetrics | None:
        """The policy of the last learn call joins the choice of the best, where it can be scored."""
        if tenure.is_scored or self._requests.by_signal:
            return None
        tenure.is_scored = True
        return self._evaluation.last_policy(tenure.agent)

    def restore(self, registry: CheckpointRegistry) -> None:
        """Bring the best policy back into the agent, once."""
        if not self._is_restored:
            self._is_restored = True
            registry.load_best(self._agent)

    def result(
        self,
        ending: Ending,
        standing: Window,
        judgement: Judgement | None,
        best: PolicySnapshot | None,
        *,
        run_dir: Path,
        counts: Mapping[str, int],
    ) -> RunResult:
        """What is known before the final evaluation."""
        return RunResult(
            reason=ending.reason,
            verdict=judgement.verdict if judgement else Verdict.FLAT,
            explanation=ending.explanation,
            score=best.eval_metrics.primary_score if best else None,
            final=None,
            windows=standing.number,
            env_steps=standing.env_steps,
            evaluation_steps=self._evaluation.steps,
            seconds=standing.seconds,
            run_dir=run_dir,
            best_snapshot=best,
            seed=self._streams.seed,
            notes=self._notes(),
            health={**self._pipeline.health, **counts},
            resume=resume_level(self._agent, self._pipeline),
        )

    def evaluated(self, result: RunResult, episodes: int, clock: RunClock) -> RunResult:
        """``result`` with the best policy's score on fresh seeds. After a signal there is no time for it."""
        if result.best_snapshot is None or not episodes or self._requests.by_signal:
            return result
        final = self._evaluation.best_policy(self._agent, episodes)
        return dataclasses.replace(
            result, final=final, evaluation_steps=self._evaluation.steps, seconds=clock.seconds, notes=self._notes()
        )

    def _notes(self) -> tuple[str, ...]:
        repairs = (f"{name.replace('_', ' ')}: {count}" for name, count in self._pipeline.health.items() if count)
        return (*dict.fromkeys(self._evaluation.notes), *repairs)
