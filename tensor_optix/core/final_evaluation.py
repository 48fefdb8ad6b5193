"""What policies are worth on evaluation seeds that were used for nothing else, once training is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.score_tracker import present
from tensor_optix.core.statistics import bootstrap_interval
from tensor_optix.core.types import EpisodeData, EvalMetrics, FinalScore
from tensor_optix.errors import EnvError

LAST_POLICY_EPISODES = 10


class FinalEvaluation:
    """Scores policies on complete env episodes; draws its seeds from streams of its own.

    What cannot be scored is no error, a finished training run must not be lost over it: ``notes`` says what and why.
    """

    def __init__(self, pipeline: BasePipeline, evaluator: BaseEvaluator, streams: RandomStreams) -> None:
        self._pipeline = pipeline
        self._evaluator = evaluator
        self._streams = streams
        self.notes: list[str] = []

    def last_policy(self, agent: BaseAgent) -> EvalMetrics | None:
        """The score of a policy that no window has scored, acting as in training; None where there is none."""
        seeds = self._seeds("last policy", LAST_POLICY_EPISODES)
        metrics = self._score(self._episodes(agent, seeds, deterministic=False))
        if metrics is None:
            self.notes.append("the policy of the last learn call could not be scored and was not considered")
        return metrics

    def best_policy(
        self, agent: BaseAgent, *, episodes: int, cut_short: Callable[[], bool]
    ) -> tuple[FinalScore | None, int]:
        """``(score, env steps used)``: deterministic, one fresh seed per env episode, each scored by itself.

        None where the pipeline has no environment for it or the evaluator cannot score an episode.
        ``cut_short`` is asked before each episode.
        """
        scores: list[float] = []
        steps = 0
        for seed in self._seeds("final evaluation", episodes):
            data = None if cut_short() else self._episodes(agent, [seed], deterministic=True)
            if data is None:
                break
            steps += data.length
            if metrics := self._score(data):
                scores.append(float(metrics.primary_score))
        if not scores:
            self.notes.append("the best policy could not be scored on fresh seeds")
        return self._with_interval(scores), steps

    def _episodes(self, agent: BaseAgent, seeds: list[int], *, deterministic: bool) -> EpisodeData | None:
        try:
            return self._pipeline.evaluate(agent, seeds=seeds, deterministic=deterministic)
        except EnvError as error:
            self.notes.append(f"evaluation ended early: {error}")
            return None

    def _score(self, data: EpisodeData | None) -> EvalMetrics | None:
        try:
            return None if data is None else present(self._evaluator.score_validation(data))
        except LookupError as error:  # it looks for the diagnostics of a learn call, of which there was none
            self.notes.append(f"the evaluator cannot score episodes without diagnostics: {error!r} is missing")
            return None

    def _with_interval(self, scores: Sequence[float]) -> FinalScore | None:
        if not scores:
            return None
        low, high = bootstrap_interval(scores, self._streams.stream("final interval"))
        return FinalScore(float(np.mean(scores)), low, high, tuple(scores))

    def _seeds(self, purpose: str, n: int) -> list[int]:
        seeds: list[int] = self._streams.stream(purpose).integers(0, 2**31 - 1, size=n).tolist()
        return seeds
