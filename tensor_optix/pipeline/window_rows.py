"""How do single steps become one EpisodeData?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import AgentError
from tensor_optix.pipeline.observations import Reader


class WindowRows:
    """Rows of one environment, in arrays that are allocated once and grow only past their capacity.

    A row takes two calls: ``observe`` before acting, ``add`` after the step. A row that was observed and not added
    is written over by the next ``observe``.

    observations: where they go, [capacity, ...] in the reader's shape and type.
    """

    def __init__(self, observations: np.ndarray, reader: Reader, action_dtype: Any) -> None:
        self.length = 0
        self.capacity = len(observations)
        self.rewards: list[float] = []
        self.terminated: list[bool] = []
        self.truncated: list[bool] = []
        self.infos: list[dict[str, Any]] = []
        self.starts: list[int] = [0]
        self.final_observations: dict[int, np.ndarray] = {}
        self.episode_returns: list[float] = []
        self.episode_lengths: list[int] = []
        self.episode_ends: list[int] = []
        self.next_observation: Any = None
        self._observations = observations
        self._reader = reader
        self._holds_objects = reader.dtype.kind == "O"
        self._actions = np.empty(0)
        self._action_dtype = action_dtype
        self._extras: dict[str, np.ndarray] = {}

    def observe(self, observation: Any) -> None:
        """Keep a copy of ``observation`` for the next row."""
        if self.length == len(self._observations):
            self._grow()
        self._observations[self.length] = self._reader.copied(observation) if self._holds_objects else observation

    @property
    def current(self) -> np.ndarray:
        """What was observed last, as a batch of one."""
        return self._observations[self.length : self.length + 1]

    def add(
        self,
        actions: np.ndarray,
        extras: dict[str, np.ndarray],
        index: int,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> None:
        """Complete the observed row with number ``index`` of a batch of actions, in the agent's units, and extras."""
        row = self.length
        if row == 0:
            self._allocate(actions, extras)
        self._actions[row] = actions[index]
        if extras or self._extras:
            self._add_extras(row, extras, index)
        self.rewards.append(reward)
        self.terminated.append(terminated)
        self.truncated.append(truncated)
        self.infos.append(info.copy())  # an environment may fill one and the same dict again
        self.length = row + 1

    def end_episode(self, final_observation: Any, episode_return: float, episode_length: int) -> None:
        """The last added row ended an env episode; the next row begins another one."""
        self.final_observations[self.length - 1] = self._reader.boxed(final_observation)
        self.episode_returns.append(episode_return)
        self.episode_lengths.append(episode_length)
        self.episode_ends.append(self.length - 1)
        self._begin_episode()

    def cut_episode(self) -> None:
        """The open env episode was lost: truncated at its last good row, if that is here. It has no return.

        Its final observation is the one that was observed last and not added.
        """
        row = self.length - 1
        if row >= 0 and not (self.terminated[row] or self.truncated[row]):
            self.truncated[row] = True
            self.final_observations[row] = self._reader.boxed(self._reader.copied(self._observations[self.length]))
        self._begin_episode()

    def close(self, next_observation: Any | None) -> None:
        """No more rows. ``next_observation`` follows the last one; None where that row ended an env episode."""
        self.next_observation = next_observation
        if next_observation is not None and self.length:
            self.final_observations[self.length - 1] = self._reader.boxed(next_observation)

    @property
    def observations(self) -> np.ndarray:
        """[length, ...]"""
        return self._observations[: self.length]

    @property
    def actions(self) -> np.ndarray:
        """[length, ...]"""
        return self._actions[: self.length]

    @property
    def extras(self) -> dict[str, np.ndarray]:
        """[length, ...] by name."""
        return {name: values[: self.length] for name, values in self._extras.items()}

    def _begin_episode(self) -> None:
        if self.starts[-1] != self.length:
            self.starts.append(self.length)

    def _allocate(self, actions: np.ndarray, extras: dict[str, np.ndarray]) -> None:
        capacity = len(self._observations)
        # the space's type takes part: an agent may begin with whole numbers and go on with fractions
        dtype = np.result_type(np.asarray(actions).dtype, self._action_dtype)
        self._actions = np.empty((capacity, *np.shape(actions)[1:]), dtype=dtype)
        self._extras = {
            name: np.empty((capacity, *np.shape(values)[1:]), dtype=np.asarray(values).dtype)
            for name, values in extras.items()
        }

    def _add_extras(self, row: int, extras: dict[str, np.ndarray], index: int) -> None:
        if extras.keys() != self._extras.keys():
            raise AgentError(
                f"act_batch must give the same extras throughout a window, "
                f"got {list(extras)} after {list(self._extras)}"
            )
        for name, values in extras.items():
            self._extras[name][row] = values[index]

    def _grow(self) -> None:
        self._observations = _doubled(self._observations)
        self._actions = _doubled(self._actions)
        self._extras = {name: _doubled(values) for name, values in self._extras.items()}


def window_of(
    all_rows: Sequence[WindowRows], episode_id: int, observations: np.ndarray | None = None, **metadata: Any
) -> EpisodeData:
    """The window of one environment, or of several in env-major order, with the row range of each.

    observations: all of them, where they lie one after another already.
    """
    stops = list(accumulate(rows.length for rows in all_rows))
    offsets = [stop - rows.length for stop, rows in zip(stops, all_rows, strict=True)]
    placed = list(zip(offsets, all_rows, strict=True))
    filled = [rows for rows in all_rows if rows.length]
    return EpisodeData(
        observations=_joined([rows.observations for rows in filled]) if observations is None else observations,
        actions=_joined([rows.actions for rows in filled]),
        rewards=_chained([rows.rewards for rows in all_rows]),
        terminated=_chained([rows.terminated for rows in all_rows]),
        truncated=_chained([rows.truncated for rows in all_rows]),
        infos=_chained([rows.infos for rows in all_rows]),
        episode_id=episode_id,
        metadata=metadata,
        episode_starts=[offset + row for offset, rows in placed for row in rows.starts if row < rows.length],
        final_obs=filled[-1].next_observation,
        extras=_joined_extras([rows.extras for rows in filled]),
        segments=list(zip(offsets, stops, strict=True)) if len(all_rows) > 1 else None,
        final_observations={
            offset + row: final for offset, rows in placed for row, final in rows.final_observations.items()
        },
        episode_returns=_chained([rows.episode_returns for rows in all_rows]),
        episode_lengths=_chained([rows.episode_lengths for rows in all_rows]),
        episode_ends=[offset + row for offset, rows in placed for row in rows.episode_ends],
    )


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _joined_extras(tables: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if any(table.keys() != tables[0].keys() for table in tables):
        raise AgentError("act_batch must give the same extras throughout a window")
    return {name: _joined([table[name] for table in tables]) for name in tables[0]}


def _chained(lists: list[list[Any]]) -> list[Any]:
    return lists[0] if len(lists) == 1 else [value for values in lists for value in values]


def _doubled(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.empty_like(array)])
