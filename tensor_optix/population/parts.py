"""What does a loop over a population consist of?"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensor_optix.core.base_agent import given_object
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.evaluators import ReturnEvaluator
from tensor_optix.core.outside_scores import ScoreFn
from tensor_optix.population.agent import PopulationAgent
from tensor_optix.population.pipeline import PopulationEvaluator, PopulationPipeline
from tensor_optix.population.settings import Population
from tensor_optix.population.training import Trainer
from tensor_optix.search.workers import InThisProcess, Processes


@dataclass(frozen=True)
class PopulationParts:
    """Agent, pipeline and evaluator for a loop, and a score function of the user's as that loop is to call it."""

    agent: PopulationAgent
    pipeline: PopulationPipeline
    evaluator: PopulationEvaluator
    checkpoint_score_fn: ScoreFn | None


def population_parts(
    population: Population,
    agent_factory: Callable[[], Any],
    pipeline_factory: Callable[[], BasePipeline],
    pipeline: BasePipeline,
    *,
    evaluator: BaseEvaluator | None,
    checkpoint_score_fn: ScoreFn | None,
    max_steps: int | None,
) -> PopulationParts:
    """agent_factory is called once a member, here: so every member begins as the factory says.

    pipeline: one more like those of pipeline_factory, for evaluation.

    Raises ConfigError for an agent whose policy cannot be moved into another one.
    """
    scorer = evaluator or ReturnEvaluator()
    agent = PopulationAgent(agent_factory, population.size, population.interval(pipeline.window_steps, max_steps))
    trainer = Trainer(agent_factory, pipeline_factory, copy.deepcopy(scorer))
    workers = InThisProcess() if population.processes == 1 else Processes(population.processes)
    score_fn = checkpoint_score_fn
    if checkpoint_score_fn is not None:
        def score_fn(_: Any) -> Any:
            return checkpoint_score_fn(given_object(agent.lead))

    whole = PopulationPipeline(agent, pipeline, trainer, workers)
    return PopulationParts(agent, whole, PopulationEvaluator(scorer, agent), score_fn)
