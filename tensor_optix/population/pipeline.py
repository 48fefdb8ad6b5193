"""What does the loop collect from a population? One window an interval, and its score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.types import EpisodeData, EvalMetrics
from tensor_optix.population.agent import PopulationAgent
from tensor_optix.population.members import Standing
from tensor_optix.population.training import Trainer
from tensor_optix.search.workers import Workers

STANDING, ENV_STEPS = "standing", "env_steps"


class PopulationPipeline(BasePipeline):
    """Has all members train, wherever ``workers`` carries that out.

    A window holds the env episodes that say how good the policy is that was the best when the interval began, and
    the env steps of everybody. ``whole``: one more pipeline like the members', for evaluation.
    """

    def __init__(self, agent: PopulationAgent, whole: BasePipeline, trainer: Trainer, workers: Workers) -> None:
        self._agent = agent
        self._whole = whole
        self._trainer = trainer
        self._workers = workers
        self._number = 0

    def setup(self) -> None:
        self._whole.setup()

    def teardown(self) -> None:
        self._workers.close()
        self._whole.teardown()

    def set_agent(self, agent: BaseAgent) -> None:
        self._whole.set_agent(self._agent.lead)

    def seed(self, streams: RandomStreams) -> None:
        self._whole.seed(streams)
        self._agent.members.seed(streams)

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            judged = self._agent.standing
            standing, env_steps = self._agent.members.trained(
                lambda orders: self._workers.map(self._trainer, orders)
            )
            self._agent.expect(standing)
            self._number += 1
            yield window_of(judged, self._number - 1, env_steps)

    def evaluate(
        self, agent: BaseAgent, *, seeds: Sequence[int], deterministic: bool = True
    ) -> EpisodeData | None:
        policy = self._agent.lead if agent is self._agent else agent
        return self._whole.evaluate(policy, seeds=seeds, deterministic=deterministic)

    @property
    def is_live(self) -> bool:
        return False

    @property
    def max_episode_steps(self) -> int | None:
        return self._whole.max_episode_steps

    @property
    def reward_threshold(self) -> float | None:
        return self._whole.reward_threshold

    @property
    def description(self) -> str:
        return self._whole.description

    @property
    def fingerprint(self) -> dict[str, str]:
        return {**self._whole.fingerprint, "population": str(len(self._agent.members))}

    @property
    def health(self) -> Mapping[str, int]:
        return {**self._whole.health, **self._workers.health, "members_failed": self._agent.members.n_failures}

    @property
    def continues_exactly(self) -> bool:
        return self._whole.continues_exactly

    def state_dict(self) -> dict[str, Any]:
        return {"number": self._number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._number = state["number"]


class PopulationEvaluator(BaseEvaluator):
    """The score of an interval is the fitness of the policy that was the best when it began; whatever is played
    elsewhere (validation, the closing) is scored by the evaluator that scores the members."""

    def __init__(self, evaluator: BaseEvaluator, agent: PopulationAgent) -> None:
        self._evaluator = evaluator
        self._agent = agent

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics | None:
        standing: Standing | None = episode_data.metadata[STANDING]
        if standing is None:
            return None
        members = {f"member_{i}": fitness for i, fitness in enumerate(standing.everyone) if not math.isnan(fitness)}
        return EvalMetrics(
            standing.fitness, {**members, "best_member": float(standing.best), **train_diagnostics},
            episode_data.episode_id,
        )  # fmt: skip

    def score_validation(self, episode_data: EpisodeData) -> EvalMetrics | None:
        return self._evaluator.score_validation(episode_data)

    def combine(self, train: EvalMetrics, val: EvalMetrics) -> EvalMetrics:
        return self._evaluator.combine(train, val)

    def expect(self, *, is_on_policy: bool, max_episode_steps: int | None, is_live: bool) -> None:
        self._evaluator.expect(is_on_policy=is_on_policy, max_episode_steps=max_episode_steps, is_live=is_live)

    @property
    def scores_whole_episodes(self) -> bool:
        standing = self._agent.standing
        return standing is not None and standing.is_of_whole_episodes


def window_of(standing: Standing | None, number: int, env_steps: int) -> EpisodeData:
    """A row for every env episode of the standing; one row that ends none where there is nothing to say."""
    episodes = standing.episodes if standing is not None else []
    rows = max(1, len(episodes))
    ended = [row < len(episodes) for row in range(rows)]
    truncated = [row < len(episodes) and episodes[row][1] for row in range(rows)]
    return EpisodeData(
        observations=np.zeros((rows, 1)), actions=np.zeros(rows, dtype=int),
        rewards=[value for value, _ in episodes] or [0.0],
        terminated=[a and not b for a, b in zip(ended, truncated, strict=True)], truncated=truncated,
        infos=[{}] * rows, episode_id=number, metadata={STANDING: standing, ENV_STEPS: env_steps},
        episode_returns=[value for value, _ in episodes], episode_lengths=[1] * len(episodes),
        episode_ends=list(range(len(episodes))),
    )  # fmt: skip
