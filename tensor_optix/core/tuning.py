"""When is the tuner asked, and when are its experiments taken back?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.totals import Totals
from tensor_optix.core.types import HyperparamSet, TuningEvidence
from tensor_optix.core.window import Window
from tensor_optix.errors import ConfigError


class Tuning:
    """The tuner at work: asked at every tick from the second one on, except while a cool-down is on."""

    def __init__(self, tuner: BaseOptimizer, tracker: ScoreTracker, announcer: Announcer) -> None:
        self._tuner = tuner
        self._tracker = tracker
        self._announcer = announcer

    @property
    def is_probing(self) -> bool:
        """True while the hyperparameters in force are an experiment."""
        return self._tuner.is_probing

    def introduce(self, agent: BaseAgent, streams: RandomStreams) -> None:
        """Once per loop: what may be tuned, and where randomness comes from."""
        self._tuner.expect(agent.param_space)
        self._tuner.seed(streams.stream("tuner"))

    def after(self, window: Window, agent: BaseAgent, totals: Totals) -> None:
        """Tell the tuner what H_{k-1} has led to, and put its H_k into force."""
        score = window.train_score
        if score is None or agent.warming_up:
            return
        env_steps, episodes = totals.steps_since_tick, totals.episodes_since_tick
        totals.steps_since_tick = totals.episodes_since_tick = 0
        if window.judgement is not None and window.judgement.cooldown is not None:
            self.settle(agent)
            return
        if self._tracker.previous is None:
            return
        self._tuner.observe(
            TuningEvidence(window.made_by.params, score, self._tracker.previous, env_steps, episodes)
        )
        before = agent.get_hyperparams()
        after = self._answered("suggest", self._tuner.suggest(before.copy(), self._tracker.history), before.params)
        if after.params != before.params:
            agent.set_hyperparams(after)
        self._announcer.tuned(before.params, after.params, window, is_probe=self._tuner.is_probing)

    def settle(self, agent: BaseAgent) -> None:
        """Leave no experiment in an agent that is handed out."""
        current = agent.get_hyperparams()
        after = self.settled(current)
        if after.params != current.params:
            agent.set_hyperparams(after)

    def settled(self, hyperparams: HyperparamSet) -> HyperparamSet:
        """``hyperparams`` without experiments."""
        return self._answered("settled", self._tuner.settled(hyperparams.copy()), hyperparams.params)

    def _answered(self, method: str, answer: Any, before: Mapping[str, Any]) -> HyperparamSet:
        """What the tuner gave, over what is in force. Raises ConfigError for what no agent could learn with."""
        name = f"{type(self._tuner).__name__}.{method}"
        if not isinstance(answer, HyperparamSet):
            raise ConfigError(f"{name} must return a HyperparamSet, got {type(answer).__name__}")
        for key, value in answer.params.items():
            if value is not before.get(key) and not _is_plain(value):
                raise ConfigError(f"{name} must give finite numbers, True, False, text or None, got {key}={value!r}")
        return HyperparamSet({**before, **answer.params}, answer.episode_id)


def _is_plain(value: Any) -> bool:
    """What a hyperparameter may be given by a tuner."""
    if isinstance(value, int | float | np.number):
        return math.isfinite(value)
    return isinstance(value, str | np.bool_ | None)
