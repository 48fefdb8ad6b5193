"""How does an agent find its way where rewards are rare? By a bonus for observations that are new to it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError
from tensor_optix.exploration.novelty import Novelty


class RNDPipeline(BasePipeline):
    """Any pipeline, whose windows carry ``eta`` times the novelty of each row's successor as ``intrinsic_rewards``.

    Agents learn from ``window.for_learning()``, where the bonus is part of the rewards: the loop hands them that, and
    a loop of your own does the same. ``rewards``, and with them every score, stay those of the environment.

    obs_dim: numbers in one observation; images and the like are flattened. embedding_dim, predictor_lr: of the
    networks (see ``novelty``). norm_eps: added to the scale that novelty is divided by.
    """

    def __init__(
        self,
        pipeline: BasePipeline,
        obs_dim: int,
        embedding_dim: int = 64,
        eta: float = 0.1,
        predictor_lr: float = 1e-3,
        norm_eps: float = 1e-8,
    ) -> None:
        for name, value in {"obs_dim": obs_dim, "embedding_dim": embedding_dim}.items():
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        self.pipeline = pipeline
        self._obs_dim, self._embedding_dim = obs_dim, embedding_dim
        self._predictor_lr, self._norm_eps = predictor_lr, norm_eps
        self.set_eta(eta)
        self._novelty = self._fresh_novelty(RandomStreams(fresh_seed()))

    @property
    def eta(self) -> float:
        """The weight of the bonus."""
        return self._eta

    def set_eta(self, eta: float) -> None:
        """Weigh the bonus by ``eta``, from the next window on; 0 switches it off."""
        if not 0.0 <= eta < np.inf:
            raise ConfigError(f"eta must be a finite number of at least 0, got {eta}")
        self._eta = float(eta)

    def episodes(self) -> Iterator[EpisodeData]:
        windows = self.pipeline.episodes()
        try:
            for window in windows:
                yield self._with_bonus(window)
        finally:
            if isinstance(windows, Generator):
                windows.close()  # now, and not when the last reference to it goes

    def seed(self, streams: RandomStreams) -> None:
        """Networks are drawn anew from ``streams``: nothing is known any more."""
        self.pipeline.seed(streams)
        self._novelty = self._fresh_novelty(streams)

    def state_dict(self) -> dict[str, Any] | None:
        """What the pipeline inside gives, with networks, scales and eta; None where it gives nothing."""
        inner = self.pipeline.state_dict()
        return None if inner is None else {"pipeline": inner, "novelty": self._novelty.state_dict(), "eta": self._eta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._novelty.load_state_dict(state["novelty"])
        self.set_eta(state["eta"])
        self.pipeline.load_state_dict(state["pipeline"])

    @property
    def fingerprint(self) -> dict[str, str]:
        settings = f"obs_dim={self._obs_dim} embedding_dim={self._embedding_dim} predictor_lr={self._predictor_lr}"
        return {**self.pipeline.fingerprint, "exploration": f"RND {settings} norm_eps={self._norm_eps}"}

    def _with_bonus(self, window: EpisodeData) -> EpisodeData:
        """The window with a bonus a row, for where that row led to; then these observations are learned."""
        if not window.length:
            return window
        successors = np.asarray(window.next_observations, dtype=np.float64).reshape(window.length, -1)
        if successors.shape[1] != self._obs_dim:
            raise ConfigError(f"obs_dim is {self._obs_dim} but observations hold {successors.shape[1]} numbers")
        bonus = self._eta * self._novelty.measure(successors)
        self._novelty.learn(successors)
        return replace(window, intrinsic_rewards=bonus.tolist())

    def _fresh_novelty(self, streams: RandomStreams) -> Novelty:
        rng = np.random.default_rng(streams.counter_seed("rnd"))
        return Novelty(
            self._obs_dim, self._embedding_dim, learning_rate=self._predictor_lr, eps=self._norm_eps, rng=rng
        )

    # -- as the pipeline inside does ---------------------------------------------------------------------------

    def setup(self) -> None:
        self.pipeline.setup()

    def teardown(self) -> None:
        self.pipeline.teardown()

    def leave_window(self) -> None:
        self.pipeline.leave_window()

    def set_agent(self, agent: BaseAgent) -> None:
        self.pipeline.set_agent(agent)

    def evaluate(
        self, agent: BaseAgent, *, seeds: Sequence[int], deterministic: bool = True
    ) -> EpisodeData | None:
        """As the pipeline inside does: nothing here is a bonus, nothing is learned from it."""
        return self.pipeline.evaluate(agent, seeds=seeds, deterministic=deterministic)

    @property
    def is_live(self) -> bool:
        return self.pipeline.is_live

    @property
    def handed_over(self) -> Sequence[Any]:
        return self.pipeline.handed_over

    @property
    def max_episode_steps(self) -> int | None:
        return self.pipeline.max_episode_steps

    @property
    def reward_threshold(self) -> float | None:
        return self.pipeline.reward_threshold

    @property
    def window_steps(self) -> int | None:
        return self.pipeline.window_steps

    @property
    def description(self) -> str:
        return self.pipeline.description

    @property
    def health(self) -> Mapping[str, int]:
        return self.pipeline.health

    @property
    def continues_exactly(self) -> bool:
        return self.pipeline.continues_exactly
