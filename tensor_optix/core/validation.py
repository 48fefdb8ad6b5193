"""What is a policy worth on held-out data, from which nothing is ever learned?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.interrupts import StopRequests
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.score_tracker import present
from tensor_optix.core.types import EpisodeData, EvalMetrics

MAX_EPISODES = 1_000  # of one validation, however short they are


class Validation:
    """Complete env episodes of a pipeline of its own, from resets, on seeds that are used once.

    The policy acts as in training unless ``deterministic``. episodes: of one validation; None: as many as fill a
    window of the pipeline. A pipeline that gives no env episodes on request (``evaluate`` returns None) is asked for
    its next window instead. ``steps`` counts env steps.
    """

    def __init__(
        self,
        pipeline: BasePipeline,
        evaluator: BaseEvaluator,
        streams: RandomStreams,
        requests: StopRequests,
        *,
        deterministic: bool = False,
        episodes: int | None = None,
    ) -> None:
        self.pipeline = pipeline
        self._wanted_episodes = episodes
        self.steps = 0
        self.deterministic = deterministic
        self._evaluator = evaluator
        self._streams = streams
        self._own_streams = RandomStreams(streams.counter_seed("validation streams"))
        self._requests = requests
        self._windows: Iterator[EpisodeData] | None = None

    def introduce(self) -> None:
        """Once per loop: the pipeline draws from streams of its own."""
        self.pipeline.seed(self._own_streams)

    def begin(self, agent: BaseAgent) -> None:
        """A ``run()`` begins."""
        self.pipeline.set_agent(agent)
        self.pipeline.setup()

    def close(self) -> None:
        """The ``run()`` is over."""
        self._windows = None
        self.pipeline.teardown()

    def score(self, agent: BaseAgent, number: int) -> EvalMetrics | None:
        """The score of validation ``number`` of the run; None where there is nothing to score."""
        with self._requests.leaving_at_once():
            data = self._collected(agent, number)
        agent.reset_cache()
        if data is None:
            return None
        self.steps += data.length
        return present(self._evaluator.score_validation(data.for_reading()), evaluator=self._evaluator)

    def _collected(self, agent: BaseAgent, number: int) -> EpisodeData | None:
        episodes: list[EpisodeData] = []
        while not self._is_enough(episodes):
            seed = self._streams.counter_seed("validation", number, len(episodes))
            data = self.pipeline.evaluate(agent, seeds=[seed], deterministic=self.deterministic)
            if data is None:
                break
            episodes.append(data)
        return joined(episodes) if episodes else self._next_window()

    def _is_enough(self, episodes: Sequence[EpisodeData]) -> bool:
        if self._wanted_episodes is not None:
            return len(episodes) >= self._wanted_episodes
        steps = sum(episode.length for episode in episodes)
        return steps >= (self.pipeline.window_steps or 1) or len(episodes) >= MAX_EPISODES

    def _next_window(self) -> EpisodeData | None:
        if self._windows is None:
            self._windows = self.pipeline.episodes()
        return next(self._windows, None)

    def state_dict(self) -> dict[str, Any]:
        """Env steps used, and what a pipeline needs that is asked for windows."""
        return {"steps": self.steps, "pipeline": self.pipeline.state_dict(),
                "streams": self._own_streams.state_dict()}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.steps = state["steps"]
        self._own_streams.load_state_dict(state["streams"])
        if state["pipeline"] is not None:
            self.pipeline.load_state_dict(state["pipeline"])


def joined(episodes: Sequence[EpisodeData]) -> EpisodeData:
    """Windows of complete env episodes as one window, in their order."""
    starts = np.cumsum([0, *(episode.length for episode in episodes)]).tolist()
    shifted = list(zip(starts, episodes, strict=False))
    first = episodes[0]
    return replace(
        first,
        observations=np.concatenate([np.asarray(episode.observations) for episode in episodes]),
        actions=np.concatenate([np.asarray(episode.actions) for episode in episodes]),
        rewards=[reward for episode in episodes for reward in episode.rewards],
        terminated=[flag for episode in episodes for flag in episode.terminated],
        truncated=[flag for episode in episodes for flag in episode.truncated],
        infos=[info for episode in episodes for info in episode.infos],
        values=None,
        log_probs=None,
        extras={name: np.concatenate([episode.extras[name] for episode in episodes]) for name in first.extras},
        segments=None,
        episode_starts=[start + row for start, episode in shifted for row in episode.episode_starts or [0]],
        final_obs=episodes[-1].final_obs,
        final_observations={
            start + row: observation
            for start, episode in shifted
            for row, observation in episode.final_observations.items()
        },
        episode_returns=[value for episode in episodes for value in episode.episode_returns],
        episode_lengths=[length for episode in episodes for length in episode.episode_lengths],
        episode_ends=[start + row for start, episode in shifted for row in episode.ended_rows],
    )
