"""How is one window collected from one environment, or from several at once?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import AgentError, EnvError
from tensor_optix.pipeline.actions import ToEnvAction
from tensor_optix.pipeline.crew import Crew
from tensor_optix.pipeline.lane import Lane
from tensor_optix.pipeline.observations import Reader
from tensor_optix.pipeline.window_rows import WindowRows, window_of

ACTING, CATCHING_UP = "acting", "acting of an environment that catches up"
"""Streams: where a lane needs a step more than the others, theirs is left alone, and so are their actions."""


class Collector:
    """Collects one window: ``window_size`` rows of every lane, one ``act_batch`` for all of them a step."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        crew: Crew,
        agent: BaseAgent,
        to_env: ToEnvAction,
        streams: RandomStreams,
        *,
        window_size: int,
        n_windows: int,
    ) -> None:
        self._lanes, self._crew = lanes, crew
        self._agent, self._to_env, self._streams = agent, to_env, streams
        self._window_size, self._n_windows = window_size, n_windows
        self._ready: Sequence[Lane] = ()
        self._has_changed = True
        reader = lanes[0].runner.reader
        self._storage = storage_for(reader, window_size * len(lanes))
        action_dtype = lanes[0].runner.env.action_space.dtype
        self._rows = [
            WindowRows(self._storage[start : start + window_size], reader, action_dtype)
            for start in range(0, len(self._storage), window_size)
        ]

    def window(self) -> EpisodeData:
        """The window. Raises EnvError where there is no remedy, AgentError."""
        self._steps_before = [lane.runner.steps if lane.is_open else 0 for lane in self._lanes]
        self._observe_open()
        n_steps = 0
        while not self._is_complete(n_steps):
            self._step_all()
            n_steps += 1
        self._close_rows()
        is_one = len(self._lanes) == 1
        return window_of(
            self._rows,
            self._n_windows,
            self._storage if all(rows.length == self._window_size for rows in self._rows) else None,
            env_episode_steps_before=self._steps_before[0] if is_one else self._steps_before,
        )

    def _is_complete(self, n_steps: int) -> bool:
        """Gets the lanes ready for their next step besides, where there is one."""
        if self._crew.is_lockstep and n_steps >= self._window_size and any(rows.length for rows in self._rows):
            return True
        if self._has_changed:
            self._open_episodes()
            self._ready = [lane for lane in self._lanes if lane.is_open and self._has_room(lane)]
            self._has_changed = len(self._ready) < len(self._lanes)
        return not (self._ready or self._crew.is_lockstep)

    def _observe_open(self) -> None:
        for lane, rows in zip(self._lanes, self._rows, strict=True):
            if lane.is_open:
                rows.observe(lane.runner.observation)

    def _open_episodes(self) -> None:
        """Reset whatever needs it, again and again where a reset fails."""
        while closed := [
            lane for lane in self._lanes if not lane.is_open and self._has_room(lane) and self._crew.can_reset(lane)
        ]:
            self._crew.begin_resets(closed, self._streams)
            for lane in closed:
                try:
                    lane.begin_episode(self._streams)
                    self._rows[lane.index].observe(lane.runner.observation)
                except EnvError as error:
                    self._after_failure(lane, error)

    def _step_all(self) -> None:
        """One step of every lane that is in an env episode and has room."""
        lanes = self._ready
        if not lanes:  # every one of them is about to reset itself
            self._crew.begin_steps((), ())
            return
        actions, extras = self._act(lanes)
        to_env = self._to_env
        env_actions = [to_env(action) for action in actions]
        self._crew.begin_steps(lanes, env_actions)
        for number, lane in enumerate(lanes):
            self._step(lane, actions, extras, number, env_actions[number])

    def _step(
        self, lane: Lane, actions: np.ndarray, extras: dict[str, np.ndarray], number: int, env_action: Any
    ) -> None:
        rows, runner = self._rows[lane.index], lane.runner
        try:
            observation, reward, terminated, truncated, info = runner.step(env_action)
        except EnvError as error:
            self._after_failure(lane, error)
            return
        rows.add(actions, extras, number, reward, terminated, truncated, info)
        if terminated or truncated:
            rows.end_episode(runner.copied(observation), runner.episode_return, runner.steps)
            lane.finish_episode()
            self._has_changed = True
        elif rows.length < rows.capacity:
            rows.observe(observation)  # at once: another environment may share its buffer with this one
        else:
            runner.observation = runner.copied(observation)
            self._has_changed = True

    def _act(self, lanes: Sequence[Lane]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        current = [self._rows[lane.index].current for lane in lanes]
        observations = current[0] if len(current) == 1 else np.concatenate(current)
        rng = self._streams.stream(ACTING if len(lanes) == len(self._lanes) else CATCHING_UP)
        actions, extras = self._agent.act_batch(observations, rng=rng)
        require_one_each(actions, extras, len(lanes))
        return actions, extras

    def _after_failure(self, lane: Lane, error: EnvError) -> None:
        self._has_changed = True
        rows = self._rows[lane.index]
        rows.cut_episode()
        if not rows.length:
            self._steps_before[lane.index] = 0
        lane.after_failure(error, self._n_windows * self._window_size + rows.length)

    def _has_room(self, lane: Lane) -> bool:
        return self._crew.is_lockstep or self._rows[lane.index].length < self._window_size

    def _close_rows(self) -> None:
        for lane, rows in zip(self._lanes, self._rows, strict=True):
            observation = None
            if lane.is_open:
                is_full = rows.length == rows.capacity
                observation = lane.runner.copied(lane.runner.observation if is_full else rows.current[0])
            lane.runner.observation = observation
            rows.close(observation)


def storage_for(reader: Reader, n_rows: int) -> np.ndarray:
    """Where ``n_rows`` observations go."""
    return np.empty((n_rows, *reader.shape), dtype=reader.dtype)


def require_one_each(actions: np.ndarray, extras: dict[str, np.ndarray], n: int) -> None:
    """Raise AgentError unless there is one action, and one row of every extra, for each of ``n`` observations."""
    if len(actions) == n:
        for values in extras.values():
            if len(values) != n:
                break
        else:
            return
    raise AgentError(f"act_batch must give one action, and one row of every extra, for each of {n} observations")
