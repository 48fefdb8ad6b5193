"""What is a policy worth on one complete env episode, while the run goes on? Every step of it is counted."""

from __future__ import annotations

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.interrupts import StopRequests
from tensor_optix.core.score_tracker import present
from tensor_optix.core.totals import Totals
from tensor_optix.errors import EnvError


class MidRunEvaluation:
    """Scores policies on seeds that the caller chooses; its env steps are env steps of the run.

    ``problem`` says why the last episode gave no score.
    """

    def __init__(
        self, pipeline: BasePipeline, evaluator: BaseEvaluator, totals: Totals, requests: StopRequests
    ) -> None:
        self._pipeline = pipeline
        self._evaluator = evaluator
        self._totals = totals
        self._requests = requests
        self.steps = 0
        self.longest_episode = 0
        self.problem = ""

    @property
    def max_episode_steps(self) -> int:
        """No env episode is longer than this, as far as is known: the environment's limit, else the longest seen."""
        return self._pipeline.max_episode_steps or self.longest_episode

    def score(self, agent: BaseAgent, seed: int) -> float | None:
        """One deterministic env episode from ``seed``, in the evaluator's unit; None where none can be had."""
        try:
            with self._requests.leaving_at_once():
                data = self._pipeline.evaluate(agent, seeds=[seed], deterministic=True)
            agent.reset_cache()
            if data is None:
                self.problem = "the pipeline has no environment to evaluate on"
                return None
            self._count(data.length)
            metrics = present(self._evaluator.score_validation(data.for_reading()), evaluator=self._evaluator)
        except EnvError as error:
            self.problem = str(error)
            return None
        except LookupError as error:  # it looks for the diagnostics of a learn call, of which there was none
            self.problem = f"the evaluator cannot score an episode without diagnostics: {error!r} is missing"
            return None
        self.problem = "" if metrics is not None else "the evaluator gave no score"
        return None if metrics is None else metrics.primary_score

    def _count(self, steps: int) -> None:
        self.steps += steps
        self._totals.env_steps += steps
        self.longest_episode = max(self.longest_episode, steps)
