"""Is what a pipeline says of an environment true: episode ends, successors, returns, seeds?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.state import split_state
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError, EnvError
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.env_pipeline import EnvPipeline
from tensor_optix.pipeline.lane import RESET_SEEDS
from tensor_optix.pipeline.observations import observed
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.testing.random_acting import RandomActing

WINDOW_SIZE = 64
N_WINDOWS = 4
SEED = 0


def check_env_pipeline(subject: Any, *, window_size: int = WINDOW_SIZE, n_windows: int = N_WINDOWS) -> list[str]:
    """Try ``subject`` with an agent that acts at random, and return the claims that were checked.

    subject: an environment, a factory, a list of factories, a vector environment, or a pipeline of any kind (its
    agent is replaced, and windows are taken from it). ``n_windows`` windows are looked at: enough of them to hold
    ends of env episodes. Raises EnvError, in one sentence, for the first claim that does not hold.
    """
    trial = _Trial(subject, window_size, n_windows)
    checked = []
    try:
        for claim, check in CHECKS:
            try:
                applies = check(trial)
            except (EnvError, ConfigError) as error:
                raise EnvError(f"{trial.name}: it does not hold that {claim}; {error}") from error
            if applies:
                checked.append(claim)
    finally:
        trial.close()
    return checked


class _Trial:
    """The pipeline under test, and what came of it."""

    def __init__(self, subject: Any, window_size: int, n_windows: int) -> None:
        self._subject, self._window_size, self._n_windows = subject, window_size, n_windows
        self._pipelines: list[BasePipeline] = []
        self._windows: list[EpisodeData] | None = None
        self.name = type(subject).__name__

    @property
    def windows(self) -> list[EpisodeData]:
        """Consecutive ones."""
        if self._windows is None:
            self.pipeline = self.fresh()
            self.name = self.pipeline.description
            self._windows = self.collect(self.pipeline)
        return self._windows

    @property
    def is_repeatable(self) -> bool:
        """True where another pipeline can begin with the same seeds."""
        return not isinstance(self._subject, BasePipeline)

    def single_envs(self) -> list[tuple[gym.Env[Any, Any], bool]]:
        """Environments for a plain loop, and whether they were built for it.

        None where there are only ready vectors, or pipelines.
        """
        listed = self._subject if isinstance(self._subject, list | tuple) else [self._subject]
        if not all(isinstance(item, gym.Env) or callable(item) for item in listed):
            return []
        are_built = [not isinstance(item, gym.Env) for item in listed]
        envs = [item() if is_built else item for item, is_built in zip(listed, are_built, strict=True)]
        return list(zip(envs, are_built, strict=True))

    def fresh(self) -> BasePipeline:
        """A pipeline that begins anew; the one that was given, where that is the subject."""
        pipeline = self._new()
        self._pipelines.append(pipeline)
        spaces = pipeline.action_space if isinstance(pipeline, EnvPipeline) else None
        if spaces is not None:
            pipeline.set_agent(RandomActing(spaces))
        pipeline.seed(RandomStreams(SEED))
        return pipeline

    def collect(self, pipeline: BasePipeline, n: int | None = None) -> list[EpisodeData]:
        """Its next windows."""
        pipeline.setup()
        windows = list(itertools.islice(pipeline.episodes(), self._n_windows if n is None else n))
        _require(len(windows) > 0, "it gives no windows")
        return windows

    def close(self) -> None:
        """Close what was built here."""
        for pipeline in self._pipelines:
            if pipeline is not self._subject:
                pipeline.teardown()

    def _new(self) -> BasePipeline:
        if isinstance(self._subject, BasePipeline):
            return self._subject
        if isinstance(self._subject, VectorEnv | list | tuple):
            return VectorBatchPipeline(self._subject, window_size=self._window_size)
        return BatchPipeline(self._subject, window_size=self._window_size)


# -- claims about windows ------------------------------------------------------------------------------------------


def _columns_are_complete(trial: _Trial) -> bool:
    for number, window in enumerate(trial.windows):
        names = ("observations", "actions", "terminated", "truncated", "infos")
        columns = {name: len(getattr(window, name)) for name in names}
        columns |= {f"extra {name!r}": len(column) for name, column in window.extras.items()}
        for name, length in columns.items():
            _require(length == window.length, f"window {number} has {window.length} rewards and {length} {name}")
        stops = [0, *(stop for _, stop in window.row_ranges)]
        starts = [start for start, _ in window.row_ranges]
        _require(
            starts == stops[:-1] and stops[-1] == window.length,
            f"the segments {window.row_ranges} of window {number} are not its {window.length} rows in a row",
        )
    return True


def _numbers_are_finite(trial: _Trial) -> bool:
    for number, window in enumerate(trial.windows):
        _require(bool(np.isfinite(window.rewards).all()), f"window {number} has rewards that are not finite")
        for name in ("observations", "next_observations"):
            column = np.asarray(getattr(window, name))
            is_fine = column.dtype.kind not in "fc" or bool(np.isfinite(column).all())
            _require(is_fine, f"window {number} has {name} that are not finite")
    return True


def _windows_continue_each_other(trial: _Trial) -> bool:
    is_continued = False
    for number, (window, following) in enumerate(itertools.pairwise(trial.windows)):
        for env, (own, next_own) in enumerate(zip(window.row_ranges, following.row_ranges, strict=True)):
            if own[0] == own[1] or next_own[0] == next_own[1] or window.dones[own[1] - 1]:
                continue
            successor, first = window.next_observations[own[1] - 1], np.asarray(following.observations)[next_own[0]]
            _require(
                _same(successor, first),
                f"environment {env} ends window {number} in mid-episode before {_short(successor)}, and begins "
                f"the next one with {_short(first)}",
            )
            is_continued = True
    return is_continued


def _ended_rows_have_final_observations(trial: _Trial) -> bool:
    is_any = False
    for number, window in enumerate(trial.windows):
        for row in window.ended_rows:
            is_any = True
            _require(
                row in window.final_observations or (row == window.length - 1 and window.final_obs is not None),
                f"row {row} of window {number} ends an env episode and has no final observation",
            )
    return is_any


def _episodes_are_counted_from_their_reset(trial: _Trial) -> bool:
    open_rewards: dict[int, list[float]] = {}
    n_checked = 0
    for number, window in enumerate(trial.windows):
        counts = zip(window.episode_returns, window.episode_lengths, strict=True)
        told = dict(zip(window.ended_rows, counts, strict=True))
        for env, (start, stop) in enumerate(window.row_ranges):
            for row in range(start, stop):
                open_rewards.setdefault(env, []).append(window.rewards[row])
                if not window.dones[row]:
                    continue
                rewards = open_rewards.pop(env)
                if row not in told:  # cut by a failure: an episode without a return
                    continue
                episode_return, length = told[row]
                _require(
                    length == len(rewards) and bool(np.isclose(episode_return, sum(rewards), rtol=1e-6)),
                    f"the env episode that ends in row {row} of window {number} has return "
                    f"{sum(rewards):g} in {len(rewards)} steps, and {episode_return:g} in {length} was told",
                )
                n_checked += 1
    return n_checked > 0


# -- claims about environments -------------------------------------------------------------------------------------


def _a_plain_loop_gives_the_same(trial: _Trial) -> bool:
    windows, pipeline = trial.windows, trial.pipeline
    if not isinstance(pipeline, EnvPipeline) or pipeline.health:
        return False
    envs = trial.single_envs()
    for index, (env, is_built) in enumerate(envs):
        _compare_with_plain_loop(observed(env, "auto"), pipeline, index, windows)
        if is_built:
            env.close()
    return bool(envs)


def _compare_with_plain_loop(
    env: gym.Env[Any, Any], pipeline: EnvPipeline, index: int, windows: list[EpisodeData]
) -> None:
    streams, episode, observation, is_open = RandomStreams(SEED), 0, None, False
    for number, window in enumerate(windows):
        successors = window.next_observations
        for row in range(*window.row_ranges[index]):
            if not is_open:
                observation, _ = env.reset(seed=streams.counter_seed(RESET_SEEDS, index, episode))
                episode += 1
            where = f"row {row} of window {number} (environment {index})"
            seen = window.observations[row]
            _require(_same(seen, observation), f"{where} observes {_short(seen)}, a plain loop {_short(observation)}")
            observation, reward, terminated, truncated, _ = env.step(pipeline.to_env_action(window.actions[row]))
            is_open = not (terminated or truncated)
            told = (window.rewards[row], window.terminated[row], window.truncated[row])
            plain = (float(reward), bool(terminated), bool(truncated))
            _require(told == plain, f"{where} has (reward, terminated, truncated) {told}, a plain loop {plain}")
            _require(
                _same(successors[row], observation),
                f"{where} leads to {_short(successors[row])}, in a plain loop to {_short(observation)}",
            )


def _repeats_with_the_same_seed(trial: _Trial) -> bool:
    if not trial.is_repeatable or not trial.windows:
        return False
    for number, (first, second) in enumerate(zip(trial.windows, trial.collect(trial.fresh()), strict=True)):
        _require(_same_window(first, second), f"window {number} of a second run with the same seed is another one")
    return True


def _continues_from_its_state(trial: _Trial) -> bool:
    if not trial.is_repeatable:
        return False
    first = trial.fresh()
    trial.collect(first, 1)
    state = first.state_dict()
    if state is None:
        return False
    expected = trial.collect(first, 1)[0]
    second = trial.fresh()
    second.load_state_dict(state)
    health = {name: count for name, count in second.health.items() if name.startswith("resume")}
    _require(not health, f"the open env episode came out differently when it was played again: {health}")
    _require(_same_window(expected, trial.collect(second, 1)[0]), "the window after loading is another one")
    return True


def _evaluation_repeats_itself(trial: _Trial) -> bool:
    if not trial.is_repeatable or not isinstance(pipeline := trial.fresh(), EnvPipeline):
        return False
    agent = RandomActing(pipeline.action_space)
    first, second = (pipeline.evaluate(agent, seeds=[1, 2], deterministic=False) for _ in range(2))
    if first is None or second is None:
        return False
    _require(sum(first.dones) == 2 and first.dones[-1], f"2 seeds gave {sum(first.dones)} complete env episodes")
    _require(_same_window(first, second), "the same seeds gave other env episodes")
    return True


CHECKS: tuple[tuple[str, Callable[[_Trial], bool]], ...] = (
    ("every column of a window has one entry a row, and its segments are all rows", _columns_are_complete),
    ("the agent sees finite numbers only", _numbers_are_finite),
    ("a window goes on where the last one ended", _windows_continue_each_other),
    ("every end of an env episode keeps its final observation", _ended_rows_have_final_observations),
    ("env episodes are counted from their own reset", _episodes_are_counted_from_their_reset),
    ("a plain loop with the same seeds and actions gives the same rows", _a_plain_loop_gives_the_same),
    ("the same seed gives the same windows", _repeats_with_the_same_seed),
    ("saved and loaded it goes on identically", _continues_from_its_state),
    ("evaluation plays one complete env episode for each seed, and repeats itself", _evaluation_repeats_itself),
)
"""What is claimed, and a function that is False where the claim does not apply and raises where it does not hold."""


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise EnvError(otherwise)


def _same_window(first: EpisodeData, second: EpisodeData) -> bool:
    names = ("rewards", "terminated", "truncated", "segments", "episode_returns", "episode_lengths")
    arrays = ("observations", "next_observations", "actions")
    return all(getattr(first, name) == getattr(second, name) for name in names) and all(
        _same(getattr(first, name), getattr(second, name)) for name in arrays
    )


def _same(first: Any, second: Any) -> bool:
    """Equal arrays bit by bit, or equal structures of them."""
    a, b = np.asarray(first), np.asarray(second)
    if a.dtype.kind != "O":
        return a.shape == b.shape and a.astype(b.dtype).tobytes() == b.tobytes()
    (json, arrays), (other_json, other_arrays) = split_state(a.tolist()), split_state(b.tolist())
    are_equal = (np.array_equal(array, other_arrays[name]) for name, array in arrays.items())
    return bool(json == other_json) and all(are_equal)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
