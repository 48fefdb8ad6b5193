"""How are windows of one size collected from one environment?"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError, EnvError
from tensor_optix.pipeline.actions import ToEnvAction, action_converter
from tensor_optix.pipeline.env_runner import EnvRunner
from tensor_optix.pipeline.environments import Env, env_source
from tensor_optix.pipeline.nonfinite import DroppedSteps, NonFiniteReading, on_nonfinite_named
from tensor_optix.pipeline.window_rows import WindowRows

logger = logging.getLogger(__name__)

MAX_FAILURES_IN_A_ROW = 3
"""So often an environment is built anew before an env episode has to end by itself in between."""
MAX_EVALUATION_STEPS = 100_000
"""An env episode under evaluation is cut here: a policy may well balance for ever."""
EVALUATION_STREAM = 1
"""Parts the acting stream of an evaluation episode from the environment's own, which has the same seed."""


class BatchPipeline(BasePipeline):
    """Windows of exactly ``window_size`` env steps; env episodes go on from one window into the next.

    env: an environment, which stays the caller's to close, or a factory without arguments; env_id: a registered id.
    What a factory or an id gave is closed by ``teardown``, and is built anew when it fails (at most three times
    without an env episode that ends by itself in between); an environment handed over fails with EnvError at once.
    n_steps: another name for ``window_size``.

    A new ``episodes()`` goes on in the env episode that the last one left open. A window that an exception broke
    off is dropped, and the next one starts from a reset.

    on_nonfinite: what becomes of a reward or an observation that is NaN or infinite. "drop_episode": the step is left
    out, and the env episode ends before it as truncated, without a return (more than 100 of the last 10,000 steps:
    NonFiniteError). "raise": NonFiniteError at the first one. "clip": NaN becomes 0, infinity the space's bound, or
    a million where it has none. In no case does the agent, the data or the score see such a number.

    health: what was repaired or cut, counted ("env_rebuilt", "nonfinite_steps", "out_of_space_observations" (finite
    ones, which are passed on), "evaluation_cut", "resume_mismatch", "resume_too_long").
    """

    def __init__(
        self,
        env: Env | Callable[[], Env] | None = None,
        agent: Any = None,
        window_size: int | None = None,
        *,
        env_id: str | None = None,
        n_steps: int | None = None,
        on_nonfinite: str = "drop_episode",
    ) -> None:
        self.window_size = _window_size(window_size, n_steps)
        self._health: Counter[str] = Counter()
        self._on_nonfinite = on_nonfinite_named(on_nonfinite, self._health)
        self._dropped = DroppedSteps(self._health)
        self._source = env_source(env, env_id)
        self._agent: BaseAgent | None = None if agent is None else as_agent(agent)
        self._streams = RandomStreams(fresh_seed())
        self._training: EnvRunner | None = None
        self._evaluation: EnvRunner | None = None
        self._has_no_evaluation_env = False
        self._to_env: ToEnvAction | None = None
        self._open_iterators = 0
        self._is_set_up = False
        self._windows = 0
        self._env_episodes = 0
        self._failures_in_a_row = 0

    # -- the contract ------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Build the environment where it is ours, and ask the agent whether it can work in its spaces."""
        agent = self._attached_agent()
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
        if self._training is not None and self._source.is_rebuildable:
            self._source.release(self._training.env)
            self._training = None
        self._close_evaluation_env()
        self._is_set_up = False

    @property
    def is_live(self) -> bool:
        return False

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
        spec = self._runner().env.spec
        return spec.max_episode_steps if spec is not None else None

    @property
    def description(self) -> str:
        return self._runner().name

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
        to_env = self._converter(agent)
        rows = self._rows(self.window_size)
        try:
            for number, seed in enumerate(seeds):
                try:
                    runner.reset(seed=int(seed), episode=number)
                    self._complete_episode(runner, rows, agent, to_env, int(seed), deterministic)
                except NonFiniteReading as reading:
                    rows.cut_episode()
                    self._dropped.tell(reading)
        except EnvError:
            self._close_evaluation_env()
            raise
        finally:
            runner.close_episode()
        if not rows.length:
            return None
        return rows.episode_data(0, None, seeds=[int(seed) for seed in seeds], deterministic=deterministic)

    def state_dict(self) -> dict[str, Any]:
        """Counters, the acting stream, and how to have the open env episode again."""
        return {
            "seed": self._streams.seed,
            "acting": self._streams.stream("acting").bit_generator.state,
            "windows": self._windows,
            "env_episodes": self._env_episodes,
            "failures_in_a_row": self._failures_in_a_row,
            "health": dict(self._health),
            "dropped": self._dropped.state_dict(),
            "open_episode": self._training.state_dict() if self._training is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken: the open env episode is played again and compared.

        Where that is not possible the next window starts from a reset, and ``health`` says so.
        """
        self._streams.load_state_dict({"seed": state["seed"], "streams": {"acting": state["acting"]}})
        self._windows = state["windows"]
        self._env_episodes = state["env_episodes"]
        self._failures_in_a_row = state["failures_in_a_row"]
        self._runner().close_episode()
        problem = self._resume(state["open_episode"]) if state["open_episode"] is not None else None
        self._dropped.load_state_dict(state["dropped"])
        self._health.clear()  # what happened while playing again was counted the first time
        self._health.update({str(name): int(count) for name, count in state["health"].items()})
        if problem is not None:
            self._health[problem] += 1

    # -- besides -----------------------------------------------------------------------------------------------

    @property
    def n_steps(self) -> int:
        """Another name for ``window_size``."""
        return self.window_size

    @property
    def observation_space(self) -> gym.Space[Any]:
        """The environment's observation space."""
        return self._runner().env.observation_space

    @property
    def action_space(self) -> gym.Space[Any]:
        """The environment's action space."""
        return self._runner().env.action_space

    def to_env_action(self, action: Any) -> Any:
        """What the environment gets for ``action`` of the attached agent. Raises AgentError.

        Windows keep the agent's own units.
        """
        if self._to_env is None:
            self._to_env = self._converter(self._attached_agent())
        return self._to_env(action)

    # -- collecting --------------------------------------------------------------------------------------------

    def _next_window(self) -> EpisodeData:
        try:
            return self._collect_window()
        except BaseException:
            self._runner().close_episode()  # its rows are lost: there is nothing to go on from
            raise

    def _collect_window(self) -> EpisodeData:
        runner, agent, rng = self._runner(), self._attached_agent(), self._streams.stream("acting")
        to_env = self.to_env_action
        rows, steps_before = self._rows(self.window_size), runner.steps
        while rows.length < self.window_size:
            try:
                if not runner.is_open:
                    self._begin_episode(runner)
                actions, extras = agent.act_batch(rows.observe(runner.observation), rng=rng)
                observation, reward, terminated, truncated, info = runner.step(to_env(actions[0]))
            except EnvError as error:
                rows.cut_episode()
                steps_before = steps_before if rows.length else 0
                runner = self._after_failure(error, self._windows * self.window_size + rows.length)
                continue
            rows.add(actions, extras, reward, terminated, truncated, info)
            if terminated or truncated:
                rows.end_episode(runner.copied(observation), runner.episode_return, runner.steps)
                self._failures_in_a_row = 0
                runner.close_episode()
        next_observation = runner.copied(runner.observation) if runner.is_open else None
        runner.observation = next_observation
        self._windows += 1
        data = rows.episode_data(self._windows - 1, next_observation, env_episode_steps_before=steps_before)
        self._count_outside(runner, data.observations)
        return data

    def _begin_episode(self, runner: EnvRunner) -> None:
        number = self._env_episodes
        self._env_episodes += 1
        runner.reset(seed=self._reset_seed(number), episode=number)

    def _after_failure(self, error: EnvError, step: int) -> EnvRunner:
        """The runner to go on with, from a reset; raises where there is no remedy. step: how many came before."""
        self._runner().close_episode()
        if isinstance(error, NonFiniteReading):
            self._dropped.add(step, error)
        else:
            self._replace_env(error)
        return self._runner()

    def _replace_env(self, error: EnvError) -> None:
        """Give the environment up, so that a fresh one is built; raises ``error`` where that is no remedy."""
        runner = self._runner()
        is_its_own_error = error.__cause__ is not None
        if not (self._source.is_rebuildable and is_its_own_error and self._failures_in_a_row < MAX_FAILURES_IN_A_ROW):
            raise error
        self._failures_in_a_row += 1
        self._health["env_rebuilt"] += 1
        logger.warning("%s: building it anew (%d of at most %d in a row)", error, self._failures_in_a_row,
                       MAX_FAILURES_IN_A_ROW)  # fmt: skip
        self._source.release(runner.env)
        self._training = None

    def _count_outside(self, runner: EnvRunner, observations: np.ndarray) -> None:
        """Observations that leave their space are passed on (many environments have some), but not silently."""
        n_outside = runner.bounds.n_outside(observations) if runner.is_bounded else 0
        if n_outside:
            if not self._health["out_of_space_observations"]:
                logger.warning("%s gives observations outside its observation space %s; they are used as they are, "
                               "and counted", runner.name, self.observation_space)  # fmt: skip
            self._health["out_of_space_observations"] += n_outside

    def _resume(self, open_episode: dict[str, Any]) -> str | None:
        """Play the open env episode again; what stood in the way, as ``health`` names it, or None."""
        runner = self._runner()
        reason = "resume_too_long"
        if open_episode["replayable"]:
            reason = "resume_mismatch"
            try:
                if runner.replay(open_episode, seed=self._reset_seed(open_episode["episode"])):
                    return None
            except EnvError as error:
                runner.close_episode()
                logger.warning("%s", error)
        logger.warning("%s: env episode %d could not be had again after %d steps (%s); a new one starts",
                       runner.name, open_episode["episode"], open_episode["steps"], reason)  # fmt: skip
        return reason

    # -- evaluating --------------------------------------------------------------------------------------------

    def _complete_episode(
        self,
        runner: EnvRunner,
        rows: WindowRows,
        agent: BaseAgent,
        to_env: ToEnvAction,
        seed: int,
        deterministic: bool,
    ) -> None:
        rng = np.random.default_rng([seed, EVALUATION_STREAM])
        is_done = False
        while not is_done:
            observations = rows.observe(runner.observation)
            actions, _ = agent.act_batch(observations, rng=rng, deterministic=deterministic)
            observation, reward, terminated, truncated, info = runner.step(to_env(actions[0]))
            if runner.steps >= MAX_EVALUATION_STEPS and not (terminated or truncated):
                truncated = True
                self._say_cut(runner)
            rows.add(actions, {}, reward, terminated, truncated, info)
            is_done = terminated or truncated
        rows.end_episode(runner.copied(observation), runner.episode_return, runner.steps)

    def _say_cut(self, runner: EnvRunner) -> None:
        self._health["evaluation_cut"] += 1
        logger.warning("%s: an evaluation episode was cut after %d steps; a step limit "
                       "(gymnasium.wrappers.TimeLimit) would end it", runner.name, runner.steps)  # fmt: skip

    def _evaluation_runner(self) -> EnvRunner | None:
        if self._evaluation is None and not self._has_no_evaluation_env:
            env = self._separate_env()
            self._has_no_evaluation_env = env is None
            self._evaluation = self._new_runner(env) if env is not None else None
        if self._evaluation is not None:
            return self._evaluation
        is_collecting = self._is_set_up and self._open_iterators > 0
        return None if is_collecting else self._runner()

    def _separate_env(self) -> Env | None:
        env = self._source.separate_env()
        if env is None:
            logger.info("%s cannot be had a second time: no evaluation while it is trained on", self.description)
        return env

    def _close_evaluation_env(self) -> None:
        if self._evaluation is not None:
            self._source.release(self._evaluation.env)
            self._evaluation = None

    # -- parts -------------------------------------------------------------------------------------------------

    def _runner(self) -> EnvRunner:
        if self._training is None:
            self._training = self._new_runner(self._source.training_env())
        return self._training

    def _new_runner(self, env: Env) -> EnvRunner:
        return EnvRunner(env, self._on_nonfinite)

    def _attached_agent(self) -> BaseAgent:
        if self._agent is None:
            raise ConfigError("BatchPipeline has no agent: give agent=... or call set_agent(agent)")
        return self._agent

    def _converter(self, agent: BaseAgent) -> ToEnvAction:
        return action_converter(self.action_space, in_unit_box=agent.acts_in_unit_box)

    def _rows(self, capacity: int) -> WindowRows:
        runner = self._runner()
        return WindowRows(capacity, runner.shape, runner.dtype, self.action_space.dtype)

    def _reset_seed(self, env_episode: int) -> int:
        return self._streams.counter_seed("environment", 0, env_episode)


def _window_size(window_size: int | None, n_steps: int | None) -> int:
    if window_size is not None and n_steps is not None and window_size != n_steps:
        raise ConfigError(f"window_size and n_steps mean the same, got {window_size} and {n_steps}")
    size = window_size if window_size is not None else n_steps
    size = 200 if size is None else size
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ConfigError(f"window_size must be a whole number of at least 1, got {size!r}")
    return int(size)
