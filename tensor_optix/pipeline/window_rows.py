"""How do single steps become one EpisodeData?"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import AgentError


class WindowRows:
    """Rows of one environment, in arrays that are allocated once and grow only past ``capacity``.

    A row takes two calls: ``observe`` before acting, ``add`` after the step. A row that was observed and not added
    is written over by the next ``observe``.
    """

    def __init__(self, capacity: int, shape: tuple[int, ...], dtype: Any, action_dtype: Any) -> None:
        self.length = 0
        self.rewards: list[float] = []
        self.terminated: list[bool] = []
        self.truncated: list[bool] = []
        self.infos: list[dict[str, Any]] = []
        self.starts: list[int] = [0]
        self.final_observations: dict[int, np.ndarray] = {}
        self.episode_returns: list[float] = []
        self.episode_lengths: list[int] = []
        self.episode_ends: list[int] = []
        self._observations = np.empty((capacity, *shape), dtype=dtype)
        self._actions = np.empty(0)
        self._action_dtype = action_dtype
        self._extras: dict[str, np.ndarray] = {}

    def observe(self, observation: Any) -> np.ndarray:
        """Keep a copy of ``observation`` for the next row; returns it as a batch of one."""
        row = self.length
        if row == len(self._observations):
            self._grow()
        self._observations[row] = observation
        return self._observations[row : row + 1]

    def add(
        self,
        actions: np.ndarray,
        extras: dict[str, np.ndarray],
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> None:
        """Complete the observed row; ``actions`` and ``extras`` are batches of one, in the agent's units."""
        row = self.length
        if row == 0:
            self._allocate(actions, extras)
        self._actions[row] = actions[0]
        if extras or self._extras:
            self._add_extras(row, extras)
        self.rewards.append(reward)
        self.terminated.append(terminated)
        self.truncated.append(truncated)
        self.infos.append(info.copy())  # an environment may fill one and the same dict again
        self.length = row + 1

    def end_episode(self, final_observation: np.ndarray, episode_return: float, episode_length: int) -> None:
        """The last added row ended an env episode; the next row begins another one."""
        self.final_observations[self.length - 1] = final_observation
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
            self.final_observations[row] = self._observations[self.length].copy()
        self._begin_episode()

    def episode_data(self, episode_id: int, next_observation: np.ndarray | None, **metadata: Any) -> EpisodeData:
        """The window. ``next_observation`` follows its last row; None where that row ended an env episode."""
        if next_observation is not None:
            self.final_observations[self.length - 1] = next_observation
        return EpisodeData(
            observations=self._observations[: self.length],
            actions=self._actions[: self.length],
            rewards=self.rewards,
            terminated=self.terminated,
            truncated=self.truncated,
            infos=self.infos,
            episode_id=episode_id,
            metadata=metadata,
            episode_starts=[row for row in self.starts if row < self.length],
            final_obs=next_observation,
            extras={name: values[: self.length] for name, values in self._extras.items()},
            final_observations=dict(self.final_observations),
            episode_returns=self.episode_returns,
            episode_lengths=self.episode_lengths,
            episode_ends=self.episode_ends,
        )

    def _begin_episode(self) -> None:
        if self.starts[-1] != self.length:
            self.starts.append(self.length)

    def _allocate(self, actions: np.ndarray, extras: dict[str, np.ndarray]) -> None:
        capacity = len(self._observations)
        if len(actions) != 1 or any(len(values) != 1 for values in extras.values()):
            raise AgentError("act_batch must give one action, and one row of every extra, for one observation")
        # the space's type takes part: an agent may begin with whole numbers and go on with fractions
        dtype = np.result_type(np.asarray(actions).dtype, self._action_dtype)
        self._actions = np.empty((capacity, *np.shape(actions)[1:]), dtype=dtype)
        self._extras = {
            name: np.empty((capacity, *np.shape(values)[1:]), dtype=np.asarray(values).dtype)
            for name, values in extras.items()
        }

    def _add_extras(self, row: int, extras: dict[str, np.ndarray]) -> None:
        if extras.keys() != self._extras.keys():
            raise AgentError(
                f"act_batch must give the same extras throughout a window, "
                f"got {list(extras)} after {list(self._extras)}"
            )
        for name, values in extras.items():
            self._extras[name][row] = values[0]

    def _grow(self) -> None:
        self._observations = _doubled(self._observations)
        self._actions = _doubled(self._actions)
        self._extras = {name: _doubled(values) for name, values in self._extras.items()}


def _doubled(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, np.empty_like(array)])
