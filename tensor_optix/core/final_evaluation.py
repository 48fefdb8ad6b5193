"""What policies are worth on evaluation seeds that were used for nothing else, once training is over."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.interrupts import StopRequests, WindowAbandoned
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.score_tracker import present
from tensor_optix.core.statistics import bootstrap_interval
from tensor_optix.core.types import EvalMetrics, FinalScore
from tensor_optix.errors import EnvError

LAST_POLICY_EPISODES = 10
MAX_EVALUATION_STEPS = 200_000  # no further env episode is begun after so many


class FinalEvaluation:
    """Scores policies on complete env episodes, one fresh seed each; draws its seeds from streams of its own.

    What cannot be scored is no error, a finished training run must not be lost over it: ``notes`` says what and why.
    A signal ends it at once. ``steps`` counts the env steps used.
    """

    def __init__(
        self,
        pipeline: BasePipeline,
        evaluator: BaseEvaluator,
        streams: RandomStreams,
        requests: StopRequests | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._evaluator = evaluator
        self._streams = streams
        self._requests = requests or StopRequests()
        self.notes: list[str] = []
        self.steps = 0

    def restart(self) -> None:
        """Another run: nothing noted or used yet."""
        self.notes, self.steps = [], 0

    def last_policy(self, agent: BaseAgent) -> EvalMetrics | None:
        """The score of a policy that no window has scored, acting as in training; None where there is none.

        Only evaluators that score whole episodes give a score here that may be compared with those of windows.
        """
        scores: list[float] = []
        if self._evaluator.scores_whole_episodes:
            scores = list(self._scores(agent, "last policy", LAST_POLICY_EPISODES, deterministic=False))
        if len(scores) < LAST_POLICY_EPISODES:
            self.notes.append("the policy of the last learn call could not be scored and was not considered")
            return None
        return EvalMetrics(float(np.mean(scores)), {"n_episodes": float(len(scores))}, -1)

    def best_policy(self, agent: BaseAgent, episodes: int) -> FinalScore | None:
        """The mean over ``episodes`` deterministic env episodes, each scored by itself.

        None where the pipeline has no environment for it or the evaluator cannot score an episode.
        """
        scores = list(self._scores(agent, "final evaluation", episodes, deterministic=True))
        if not scores:
            self.notes.append("the best policy could not be scored on fresh seeds")
            return None
        low, high = bootstrap_interval(scores, self._streams.stream("final interval"))
        return FinalScore(float(np.mean(scores)), low, high, tuple(scores))

    def _scores(self, agent: BaseAgent, purpose: str, episodes: int, *, deterministic: bool) -> Iterator[float]:
        rng, limit = self._streams.stream(purpose), self.steps + MAX_EVALUATION_STEPS
        for number in range(episodes):
            if self.steps >= limit:
                self.notes.append(f"the {purpose} ended after {number} episodes, which took {self.steps} steps")
                return
            metrics = self.episode(agent, int(rng.integers(2**31)), deterministic=deterministic)
            if metrics is None:
                return
            yield metrics.primary_score

    def episode(self, agent: BaseAgent, seed: int, *, deterministic: bool) -> EvalMetrics | None:
        """The score of one complete env episode; None where none can be had."""
        try:
            with self._requests.leaving_at_once():
                data = self._pipeline.evaluate(agent, seeds=[seed], deterministic=deterministic)
                if data is None:
                    return None
                self.steps += data.length
                return present(self._evaluator.score_validation(data), evaluator=self._evaluator)
        except WindowAbandoned:
            self.notes.append("the evaluation was interrupted")
        except EnvError as error:
            self.notes.append(f"the evaluation ended early: {error}")
        except LookupError as error:  # it looks for the diagnostics of a learn call, of which there was none
            self.notes.append(f"the evaluator cannot score an episode without diagnostics: {error!r} is missing")
        return None
