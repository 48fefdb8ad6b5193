"""What policies are worth on evaluation seeds that were used for nothing else, once training is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.score_tracker import present
from tensor_optix.core.statistics import bootstrap_interval
from tensor_optix.core.types import EpisodeData, EvalMetrics, FinalScore

LAST_POLICY_EPISODES = 10


@dataclass(frozen=True)
class FinalEvaluation:
    """Scores policies on complete env episodes; draws its seeds from streams of its own."""

    pipeline: BasePipeline
    evaluator: BaseEvaluator
    streams: RandomStreams

    def last_policy(self, agent: BaseAgent) -> EvalMetrics | None:
        """The score of a policy that no window has scored, acting as in training; None where there is none."""
        seeds = self._seeds("last policy", LAST_POLICY_EPISODES)
        data = self.pipeline.evaluate(agent, seeds=seeds, deterministic=False)
        return None if data is None else self._score(data)

    def best_policy(
        self, agent: BaseAgent, *, episodes: int, cut_short: Callable[[], bool]
    ) -> tuple[FinalScore | None, int]:
        """``(score, env steps used)``: deterministic, one fresh seed per env episode, each scored by itself.

        None where the pipeline has no environment for it or the evaluator cannot score an episode.
        """
        scores: list[float] = []
        steps = 0
        for seed in self._seeds("final evaluation", episodes):
            data = None if cut_short() else self.pipeline.evaluate(agent, seeds=[seed])
            if data is None:
                break
            steps += data.length
            if metrics := self._score(data):
                scores.append(float(metrics.primary_score))
        return self._with_interval(scores), steps

    def _score(self, data: EpisodeData) -> EvalMetrics | None:
        try:
            return present(self.evaluator.score_validation(data))
        except LookupError:  # an evaluator that needs the diagnostics of a learn call, of which there was none
            return None

    def _with_interval(self, scores: Sequence[float]) -> FinalScore | None:
        if not scores:
            return None
        low, high = bootstrap_interval(scores, self.streams.stream("final interval"))
        return FinalScore(float(np.mean(scores)), low, high, tuple(scores))

    def _seeds(self, purpose: str, n: int) -> list[int]:
        seeds: list[int] = self.streams.stream(purpose).integers(0, 2**31 - 1, size=n).tolist()
        return seeds
