"""How does one member train for one interval? A function of its state, wherever it is carried out."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.convergence import ended_episodes
from tensor_optix.core.episode_counter import EpisodeCounter
from tensor_optix.core.policy.forking import agent_tree, load_agent_tree
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.score_tracker import present
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ConfigError, EnvError, NonFiniteError

LAST_SHARE = 0.2
"""The final part of an interval whose mean score is the member's fitness."""

State = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What a member is to do. seed: the root of its randomness; steps: env steps, at least one window.

    agent: a tree of ``agent_tree``; progress: what else the member's last interval left, {} before the first one.
    has_moved: the policy is another member's; the random streams are this one's own all the same.
    """

    seed: int
    steps: int
    agent: State
    params: dict[str, Any]
    progress: State = field(default_factory=dict)
    has_moved: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a member's interval led to. scores: one a tick; episodes: (return, was it only truncated) of the last part
    of the interval. fault: why the member could not go on; empty for one that works. scores_whole_episodes: whether a
    score is the mean over whole env episodes."""

    agent: State
    progress: State
    env_steps: int
    scores: list[float]
    episodes: list[tuple[float, bool]]
    fault: str = ""
    scores_whole_episodes: bool = False

    @property
    def fitness(self) -> float:
        """Mean of the last fifth of the scores; NaN without any, and for a member that failed."""
        if self.fault or not self.scores:
            return math.nan
        return float(np.mean(self.scores[-_n_last(self.scores) :]))


@dataclass
class Trainer:
    """Carries out orders. An agent is built once and takes on one member's state after the other."""

    agent_factory: Callable[[], Any]
    pipeline_factory: Callable[[], BasePipeline]
    evaluator: BaseEvaluator
    _agent: BaseAgent | None = None

    def __call__(self, order: Order) -> Outcome:
        """Raises what agent, pipeline or evaluator raise, except that numbers are not finite: that is an outcome."""
        agent = self._agent = self._agent or as_agent(self.agent_factory())
        pipeline, evaluator, counter = self.pipeline_factory(), copy.deepcopy(self.evaluator), EpisodeCounter()
        streams = RandomStreams(order.seed)
        pipeline.set_agent(agent)
        pipeline.seed(streams)
        pipeline.setup()
        try:
            evaluator.expect(
                is_on_policy=agent.is_on_policy, max_episode_steps=pipeline.max_episode_steps, is_live=False
            )
            if order.progress:
                _restore(order.progress, streams, pipeline, evaluator, counter)
            agent.seed(streams.stream("agent"))
            load_agent_tree(agent, order.agent)
            if order.has_moved or not order.progress:  # what it brings with it is the factory's, or another member's
                agent.seed(np.random.default_rng(int(streams.stream("own randomness").integers(2**63))))
            agent.set_hyperparams(HyperparamSet(dict(order.params)))
            return _trained(order, agent, pipeline, evaluator, counter, streams)
        finally:
            pipeline.teardown()


def _trained(
    order: Order, agent: BaseAgent, pipeline: BasePipeline, evaluator: BaseEvaluator, counter: EpisodeCounter,
    streams: RandomStreams,
) -> Outcome:  # fmt: skip
    """Collect, score, learn, until the steps are used up."""
    scores: list[float] = []
    episodes: list[list[tuple[float, bool]]] = []
    steps, fault, diagnostics = 0, "", dict[str, Any]()
    windows = pipeline.episodes()
    try:
        while steps < order.steps:
            agent.reset_cache()
            data = _next(windows)
            counter.complete(data)
            steps += data.length
            metrics = present(evaluator.score(data.for_reading(), diagnostics), evaluator=evaluator)
            if metrics is not None and not agent.warming_up:
                scores.append(metrics.primary_score)
            episodes.append([(ended.episode_return, ended.truncated) for ended in ended_episodes(data)])
            diagnostics = dict(agent.learn(data.for_learning()) or {})
    except NonFiniteError as error:
        fault = str(error)
    finally:
        if isinstance(windows, Generator):
            windows.close()
    progress = {
        "streams": streams.state_dict(), "pipeline": pipeline.state_dict(), "evaluator": evaluator.state_dict(),
        "counter": counter.state_dict(),
    }  # fmt: skip
    tree = order.agent if fault else copied(agent_tree(agent))
    last = [episode for window in episodes[-_n_last(episodes) :] for episode in window]
    return Outcome(tree, progress, steps, scores, last, fault, evaluator.scores_whole_episodes)


def copied(tree: State | None) -> State:
    """The tree as it is now, whatever becomes of the agent. Raises ConfigError for an agent that gives none."""
    if tree is None:
        raise ConfigError(
            "population training moves policies between agents: give the agent a state_dict or a policy_state"
        )
    return copy.deepcopy(tree)


def _restore(
    progress: State, streams: RandomStreams, pipeline: BasePipeline, evaluator: BaseEvaluator, counter: EpisodeCounter
) -> None:
    streams.load_state_dict(progress["streams"])
    if progress["pipeline"] is not None:
        pipeline.load_state_dict(progress["pipeline"])
    evaluator.load_state_dict(progress["evaluator"])
    counter.load_state_dict(progress["counter"])


def _next(windows: Iterator[EpisodeData]) -> EpisodeData:
    data = next(windows, None)
    if data is None:
        raise EnvError("the pipeline of a member has no more windows: a population needs one that goes on")
    return data


def _n_last(values: list[Any]) -> int:
    return max(1, round(LAST_SHARE * len(values)))
