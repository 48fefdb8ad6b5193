"""What is one environment of a pipeline: built from what, in which env episode, how often has it failed?"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import EnvError
from tensor_optix.pipeline.env_runner import EnvRunner
from tensor_optix.pipeline.environments import Env, EnvSource
from tensor_optix.pipeline.failures import MAX_IN_A_ROW, Failures
from tensor_optix.pipeline.nonfinite import DroppedSteps, NonFiniteReading, OnNonFinite
from tensor_optix.pipeline.step_alarm import StepAlarm

logger = logging.getLogger(__name__)

RESET_SEEDS = "environment"
"""The name of the seeds of resets; they count by environment and env episode."""


class Lane:
    """One of several environments that know nothing of each other.

    number: its index among several; None where there is only this one. health: where repairs are counted.
    alarm: what ends calls that take too long. failures: how often it may fail.
    """

    def __init__(
        self,
        source: EnvSource,
        on_nonfinite: OnNonFinite,
        health: Counter[str],
        *,
        number: int | None = None,
        alarm: StepAlarm | None = None,
        failures: Failures | None = None,
    ) -> None:
        self.source = source
        self.dropped = DroppedSteps(health)
        self._health = health
        self._on_nonfinite = on_nonfinite
        self._number = number
        self._env: Env | None = None
        self._runner: EnvRunner | None = None
        self.env_episodes = 0
        """So many have begun."""
        self._alarm = alarm if alarm is not None else StepAlarm(None)
        self._failures = failures if failures is not None else Failures()

    @property
    def index(self) -> int:
        """Which of the pipeline's environments this is."""
        return self._number or 0

    @property
    def env(self) -> Env | None:
        """The environment, if it is there."""
        return self._env

    @property
    def is_ready(self) -> bool:
        """True where the environment is there and built."""
        return self._runner is not None

    def prepare(self) -> Env:
        """The environment; a process of its own may still be starting."""
        if self._env is None:
            self._env = self.source.training_env()
        return self._env

    @property
    def runner(self) -> EnvRunner:
        """The environment, ready to be stepped. Raises EnvError where a process of its own could not build it."""
        if self._runner is None:
            try:
                self._runner = self.new_runner(self.prepare())
            except EnvError as error:
                self.release()
                raise EnvError(f"environment {self.index} was not built: {error}", env_index=self.index) from error
        return self._runner

    @property
    def is_open(self) -> bool:
        """True in the middle of an env episode."""
        return self._runner is not None and self._runner.is_open

    def new_runner(self, env: Env) -> EnvRunner:
        """Another environment, seen as this one is."""
        watched = self._alarm.watching(self.source.observed(env))
        return EnvRunner(watched, self._on_nonfinite, env_index=self._number)

    def next_seed(self, streams: RandomStreams) -> int:
        """The seed of the env episode that ``begin_episode`` begins next."""
        return self._seed_of(self.env_episodes, streams)

    def begin_episode(self, streams: RandomStreams) -> None:
        """Reset. Raises EnvError."""
        episode, seed = self.env_episodes, self.next_seed(streams)
        self.env_episodes += 1
        self.runner.reset(seed=seed, episode=episode)

    def finish_episode(self) -> None:
        """The open env episode ended by itself."""
        self._failures.episode_ended()
        self.runner.close_episode()

    def close_episode(self) -> None:
        """Forget the open env episode, if there is one."""
        if self._runner is not None:
            self._runner.close_episode()

    def after_failure(self, error: EnvError, step: int) -> None:
        """Get ready for a reset; raises where there is no remedy. step: how many came before."""
        self.close_episode()
        if isinstance(error, NonFiniteReading):
            self.dropped.add(step, error)
        else:
            self._replace_env(error)

    def release(self) -> None:
        """Close the environment, if it was built here."""
        env, self._env, self._runner = self._env, None, None
        if env is not None:
            self.source.release(env)

    def state_dict(self) -> dict[str, Any]:
        """Counters, and how to have the open env episode again."""
        return {
            "env_episodes": self.env_episodes,
            "failures_in_a_row": self._failures.in_a_row,
            "dropped": self.dropped.state_dict(),
            "open_episode": self._runner.state_dict() if self._runner is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any], streams: RandomStreams) -> str | None:
        """Go on where ``state`` was taken: the open env episode is played again and compared.

        What stood in the way of that, as ``health`` names it, or None.
        """
        self.close_episode()
        open_episode = state["open_episode"]
        problem = self._play_again(open_episode, streams) if open_episode is not None else None
        self.load_counters(state)
        return problem

    def load_counters(self, state: dict[str, Any]) -> None:
        """Count on where ``state`` was taken."""
        self.env_episodes = state["env_episodes"]
        self._failures.in_a_row = state["failures_in_a_row"]
        self.dropped.load_state_dict(state["dropped"])

    def is_where(self, state: dict[str, Any]) -> bool:
        """True where as many env episodes began as when ``state`` was taken, and the same one is open, or none."""
        now, then = self.runner.state_dict(), state["open_episode"]
        if self.env_episodes != state["env_episodes"]:
            return False
        if now is None or then is None:
            return now is then
        names = ("episode", "steps", "episode_return", "observation_sha256")
        return all(now[name] == then[name] for name in names)

    def _play_again(self, open_episode: dict[str, Any], streams: RandomStreams) -> str | None:
        reason = "resume_too_long"
        if open_episode["replayable"]:
            reason = "resume_mismatch"
            try:
                if self.runner.replay(open_episode, seed=self._seed_of(open_episode["episode"], streams)):
                    return None
            except EnvError as error:
                self.close_episode()
                logger.warning("%s", error)
        logger.warning("%s: env episode %d could not be had again after %d steps (%s); a new one starts",
                       self.runner.name, open_episode["episode"], open_episode["steps"], reason)  # fmt: skip
        return reason

    def _replace_env(self, error: EnvError) -> None:
        """Give the environment up, so that a fresh one is built; raises ``error`` where that is no remedy."""
        is_its_own_error = error.__cause__ is not None
        if not (self.source.is_rebuildable and is_its_own_error):
            raise error
        if (verdict := self._failures.verdict()) is not None:
            error.add_note(f"{self.runner.name} is given up: {verdict}")
            raise error
        self._failures.add()
        self._health["env_rebuilt"] += 1
        if isinstance(error.__cause__, EnvError):  # it hung, or the trouble was with its process
            self._health[error.__cause__.health_key] += 1
        logger.warning("%s: building it anew (%d of at most %d in a row)", error, self._failures.in_a_row,
                       MAX_IN_A_ROW)  # fmt: skip
        self.release()

    def _seed_of(self, env_episode: int, streams: RandomStreams) -> int:
        return streams.counter_seed(RESET_SEEDS, self.index, env_episode)
