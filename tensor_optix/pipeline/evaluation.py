"""How are whole env episodes played, apart from those that are trained on?"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import EpisodeData
from tensor_optix.pipeline.actions import ToEnvAction
from tensor_optix.pipeline.collector import require_one_each, storage_for
from tensor_optix.pipeline.env_runner import EnvRunner
from tensor_optix.pipeline.nonfinite import DroppedSteps, NonFiniteReading
from tensor_optix.pipeline.window_rows import WindowRows, window_of

logger = logging.getLogger(__name__)

MAX_EVALUATION_STEPS = 100_000
"""An env episode under evaluation is cut here: a policy may well balance for ever."""
EVALUATION_STREAM = 1
"""Parts the acting stream of an evaluation episode from the environment's own, which has the same seed."""


class EvaluationPlay:
    """Complete env episodes of one agent on one environment.

    capacity: rows that are allocated at once; dropped, health: where what went wrong is counted.
    """

    def __init__(
        self,
        runner: EnvRunner,
        agent: BaseAgent,
        to_env: ToEnvAction,
        dropped: DroppedSteps,
        health: Counter[str],
        *,
        capacity: int,
    ) -> None:
        self._runner, self._agent, self._to_env = runner, agent, to_env
        self._dropped, self._health = dropped, health
        observations = storage_for(runner.reader, capacity)
        self._rows = WindowRows(observations, runner.reader, runner.env.action_space.dtype)

    def episodes(self, seeds: Sequence[int], *, deterministic: bool) -> EpisodeData | None:
        """One env episode per seed; None where nothing but numbers that are not finite was seen. Raises EnvError."""
        rows = self._rows
        for number, seed in enumerate(seeds):
            try:
                self._runner.reset(seed=int(seed), episode=number)
                self._play(int(seed), deterministic)
            except NonFiniteReading as reading:
                rows.cut_episode()
                self._dropped.tell(reading)
        if not rows.length:
            return None
        rows.close(None)
        return window_of([rows], 0, seeds=[int(seed) for seed in seeds], deterministic=deterministic)

    def _play(self, seed: int, deterministic: bool) -> None:
        rows, runner = self._rows, self._runner
        rng = np.random.default_rng([seed, EVALUATION_STREAM])
        is_done = False
        while not is_done:
            rows.observe(runner.observation)
            actions, extras = self._agent.act_batch(rows.current, rng=rng, deterministic=deterministic)
            require_one_each(actions, extras, 1)
            observation, reward, terminated, truncated, info = runner.step(self._to_env(actions[0]))
            if runner.steps >= MAX_EVALUATION_STEPS and not (terminated or truncated):
                truncated = True
                self._say_cut()
            rows.add(actions, {}, 0, reward, terminated, truncated, info)
            is_done = terminated or truncated
        rows.end_episode(runner.copied(observation), runner.episode_return, runner.steps)

    def _say_cut(self) -> None:
        self._health["evaluation_cut"] += 1
        logger.warning("%s: an evaluation episode was cut after %d steps; a step limit (gymnasium.wrappers.TimeLimit) "
                       "would end it", self._runner.name, self._runner.steps)  # fmt: skip
