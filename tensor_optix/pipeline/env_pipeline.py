"""What have the pipelines in common that step environments, one or several?"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError, EnvError
from tensor_optix.pipeline.actions import ToEnvAction, action_converter
from tensor_optix.pipeline.collector import ACTING, CATCHING_UP, Collector
from tensor_optix.pipeline.crew import Crew
from tensor_optix.pipeline.env_runner import EnvRunner
from tensor_optix.pipeline.environments import EnvSource, env_name, step_limit
from tensor_optix.pipeline.evaluation import EvaluationPlay
from tensor_optix.pipeline.lane import Lane
from tensor_optix.pipeline.nonfinite import on_nonfinite_named
from tensor_optix.pipeline.step_alarm import StepAlarm

logger = logging.getLogger(__name__)

MAX_TIMEOUT_SECONDS = 1e8
"""Three years; timers of the system take no more."""


class EnvPipeline(BasePipeline):
    """Windows from the environments of ``sources``, set going by ``crew``.

    A new ``episodes()`` goes on in the env episodes that the last one left open. A window that an exception broke
    off is dropped, and the next one starts from resets.
    """

    def __init__(
        self,
        sources: Sequence[EnvSource],
        crew: Crew,
        agent: Any,
        window_size: int,
        on_nonfinite: str,
        alarm: StepAlarm,
    ) -> None:
        self.window_size = window_size
        self._alarm = alarm
        self._health: Counter[str] = Counter()
        self._on_nonfinite = on_nonfinite_named(on_nonfinite, self._health)
        self._crew = crew
        self._lanes = [
            Lane(source, self._on_nonfinite, self._health, number=number if len(sources) > 1 else None, alarm=alarm)
            for number, source in enumerate(sources)
        ]
        self._agent: BaseAgent | None = None if agent is None else as_agent(agent)
        self._streams = RandomStreams(fresh_seed())
        self._evaluation: EnvRunner | None = None
        self._has_no_evaluation_env = False
        self._to_env: ToEnvAction | None = None
        self._open_iterators = 0
        self._is_set_up = False
        self._windows = 0

    # -- the contract ------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Build the environments where they are ours, and ask the agent whether it can work in their spaces."""
        agent = self._attached_agent()
        self._require_equal_spaces()
        agent.check_spaces(self.observation_space, self.action_space)
        self._to_env = self._converter(agent)
        self._is_set_up = True

    def episodes(self) -> Iterator[EpisodeData]:
        if not self._is_set_up:
            self.setup()
        self._open_iterators += 1
        try:
            while True:
                yield self._next_window()
        finally:
            self._open_iterators -= 1

    def teardown(self) -> None:
        """Close what was built here. An environment that was handed over keeps its open env episode."""
        self._crew.release([lane for lane in self._lanes if lane.source.is_rebuildable])
        self._close_evaluation_env()
        self._is_set_up = False

    @property
    def is_live(self) -> bool:
        return False

    @property
    def handed_over(self) -> Sequence[Any]:
        return [lane.source.handed_over for lane in self._lanes if lane.source.handed_over is not None]

    def set_agent(self, agent: Any) -> None:
        self._agent = as_agent(agent)
        self._to_env = None
        if self._is_set_up:
            self.setup()

    def seed(self, streams: RandomStreams) -> None:
        """Resets and acting draw from ``streams``, from the next window on."""
        self._streams = streams

    @property
    def max_episode_steps(self) -> int | None:
        return step_limit(self._runner().env)

    @property
    def reward_threshold(self) -> float | None:
        spec = self._runner().env.spec
        threshold = None if spec is None else spec.reward_threshold
        return None if threshold is None else float(threshold)

    @property
    def window_steps(self) -> int:
        return self.window_size * self.n_envs

    @property
    def description(self) -> str:
        return env_name(self._runner().env) + (f" x {self.n_envs}" if self.n_envs > 1 else "")

    @property
    def fingerprint(self) -> dict[str, str]:
        return {
            **super().fingerprint,
            "window_size": str(self.window_size),
            "observation space": str(self.observation_space),
            "action space": str(self.action_space),
        }

    @property
    def health(self) -> Counter[str]:
        return self._health

    def evaluate(
        self, agent: BaseAgent, *, seeds: Sequence[int], deterministic: bool = True
    ) -> EpisodeData | None:
        """Complete env episodes, one per seed; the same seeds give the same data.

        They run on an environment of their own. A handed-over environment that cannot be cloned gives None while
        windows are collected from it, and serves itself otherwise; collecting then starts from a reset. An env
        episode that breaks off at a number that is not finite has no return; None if nothing else was seen.
        """
        if not seeds:
            raise ConfigError("evaluate needs at least one seed, got none")
        runner = self._evaluation_runner()
        if runner is None:
            return None
        agent = as_agent(agent)
        play = EvaluationPlay(runner, agent, self._converter(agent), self._lanes[0].dropped, self._health,
                              capacity=self.window_size)  # fmt: skip
        try:
            with self._alarm.armed():
                return play.episodes(seeds, deterministic=deterministic)
        except EnvError:
            self._close_evaluation_env()
            raise
        finally:
            runner.close_episode()

    def state_dict(self) -> dict[str, Any] | None:
        """Counters, the acting streams, and how to have the open env episodes again."""
        return {
            "seed": self._streams.seed,
            "streams": {name: self._streams.stream(name).bit_generator.state for name in (ACTING, CATCHING_UP)},
            "windows": self._windows,
            "health": dict(self._health),
            "lanes": {str(lane.index): lane.state_dict() for lane in self._lanes},
            "crew": self._crew.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken: the open env episodes are played again and compared.

        Where that is not possible the next window starts from a reset, and ``health`` says so.
        """
        self._streams.load_state_dict({"seed": state["seed"], "streams": state["streams"]})
        self._windows = state["windows"]
        with self._alarm.armed():
            problems = self._crew.resume(self._lanes, state["crew"], state["lanes"], self._streams)
        self._health.clear()  # what happened while playing again was counted the first time
        self._health.update({str(name): int(count) for name, count in state["health"].items()})
        self._health.update(problems)

    # -- besides -----------------------------------------------------------------------------------------------

    @property
    def n_steps(self) -> int:
        """Another name for ``window_size``."""
        return self.window_size

    @property
    def n_envs(self) -> int:
        """How many environments take part."""
        return len(self._lanes)

    @property
    def observation_space(self) -> gym.Space[Any]:
        """The observation space of one environment, as the agent sees it."""
        return self._runner().env.observation_space

    @property
    def action_space(self) -> gym.Space[Any]:
        """The action space of one environment."""
        return self._runner().env.action_space

    def to_env_action(self, action: Any) -> Any:
        """What the environment gets for one ``action`` of the attached agent. Raises AgentError.

        Windows keep the agent's own units.
        """
        if self._to_env is None:
            self._to_env = self._converter(self._attached_agent())
        return self._to_env(action)

    # -- collecting --------------------------------------------------------------------------------------------

    def _next_window(self) -> EpisodeData:
        try:
            with self._alarm.armed():
                return self._collect_window()
        except BaseException:
            for lane in self._lanes:
                lane.close_episode()  # its rows are lost: there is nothing to go on from
            self._crew.start_over()
            raise

    def _collect_window(self) -> EpisodeData:
        self._crew.prepare(self._lanes)
        collector = Collector(
            self._lanes, self._crew, self._attached_agent(), self.to_env_action, self._streams,
            window_size=self.window_size, n_windows=self._windows,
        )  # fmt: skip
        data = collector.window()
        self._windows += 1
        self._count_outside(data.observations)
        return data

    def _count_outside(self, observations: np.ndarray) -> None:
        """Observations that leave their space are passed on (many environments have some), but not silently."""
        runner = self._runner()
        bounds = runner.reader.bounds
        if bounds is None or not (n_outside := bounds.n_outside(observations)):
            return
        if not self._health["out_of_space_observations"]:
            logger.warning("%s gives observations outside its observation space %s; they are used as they are, "
                           "and counted", runner.name, self.observation_space)  # fmt: skip
        self._health["out_of_space_observations"] += n_outside

    # -- evaluating --------------------------------------------------------------------------------------------

    def _evaluation_runner(self) -> EnvRunner | None:
        if self._evaluation is None and not self._has_no_evaluation_env:
            env = self._lanes[0].source.separate_env()
            if env is None:
                logger.info("%s cannot be had a second time: no evaluation while it is trained on", self.description)
            self._has_no_evaluation_env = env is None
            self._evaluation = self._lanes[0].new_runner(env) if env is not None else None
        if self._evaluation is not None:
            return self._evaluation
        is_collecting = self._is_set_up and self._open_iterators > 0
        return None if is_collecting or self._crew.is_lockstep else self._runner()

    def _close_evaluation_env(self) -> None:
        if self._evaluation is not None:
            self._lanes[0].source.release(self._evaluation.env)
            self._evaluation = None

    # -- parts -------------------------------------------------------------------------------------------------

    def _runner(self) -> EnvRunner:
        self._crew.prepare(self._lanes)
        return self._lanes[0].runner

    def _require_equal_spaces(self) -> None:
        expected = (self.observation_space, self.action_space)
        for lane in self._lanes:
            spaces = (lane.runner.env.observation_space, lane.runner.env.action_space)
            if spaces != expected:
                raise ConfigError(
                    f"all environments of a pipeline must have the same spaces: environment {lane.index} has "
                    f"{spaces[0]} and {spaces[1]}, environment 0 has {expected[0]} and {expected[1]}"
                )

    def _attached_agent(self) -> BaseAgent:
        if self._agent is None:
            raise ConfigError(f"{type(self).__name__} has no agent: give agent=... or call set_agent(agent)")
        return self._agent

    def _converter(self, agent: BaseAgent) -> ToEnvAction:
        return action_converter(self.action_space, in_unit_box=agent.acts_in_unit_box)


def checked_timeout(seconds: Any) -> float | None:
    """``seconds`` as a limit. Raises ConfigError."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and 0 < seconds < MAX_TIMEOUT_SECONDS):
        raise ConfigError(f"step_timeout must be a number of seconds above 0, or None for no limit, got {seconds!r}")
    return seconds  # type: ignore[no-any-return]


def checked_window_size(window_size: int | None, n_steps: int | None, *, default: int) -> int:
    """The one that was given. Raises ConfigError."""
    if window_size is not None and n_steps is not None and window_size != n_steps:
        raise ConfigError(f"window_size and n_steps mean the same, got {window_size} and {n_steps}")
    size = window_size if window_size is not None else n_steps
    size = default if size is None else size
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ConfigError(f"window_size must be a whole number of at least 1, got {size!r}")
    return int(size)
