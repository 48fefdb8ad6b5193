"""How do the rows of a stream become one EpisodeData?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import AgentError


class StreamRows:
    """Complete rows, whose observations are arrays of ours; stacked once, when the window ends."""

    def __init__(self) -> None:
        self.rewards: list[float] = []
        self._observations: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._extras: list[Mapping[str, np.ndarray]] = []
        self._terminated: list[bool] = []
        self._truncated: list[bool] = []
        self._infos: list[dict[str, Any]] = []
        self._starts = [0]
        self._final_observations: dict[int, np.ndarray] = {}
        self._ended: list[tuple[int, float, int]] = []

    @property
    def length(self) -> int:
        """Number of rows."""
        return len(self.rewards)

    @property
    def goes_on(self) -> bool:
        """True when the next row belongs to the env episode of the last one."""
        return bool(self.rewards) and self._starts[-1] != self.length

    def add(
        self,
        observation: np.ndarray,
        actions: np.ndarray,
        extras: Mapping[str, np.ndarray],
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> None:
        """One row; ``actions`` and ``extras`` are batches of one. Raises AgentError where they are not."""
        if len(actions) != 1 or any(len(values) != 1 for values in extras.values()):
            raise AgentError("act_batch must give one action, and one row of every extra, for one observation")
        if self._extras and extras.keys() != self._extras[0].keys():
            raise AgentError(
                f"act_batch must give the same extras throughout a window, got {list(extras)} after "
                f"{list(self._extras[0])}"
            )
        self._observations.append(observation)
        self._actions.append(actions)
        self._extras.append(extras)
        self._terminated.append(terminated)
        self._truncated.append(truncated)
        self._infos.append(info)
        self.rewards.append(reward)

    def end_episode(self, final_observation: np.ndarray, episode: tuple[float, int] | None) -> None:
        """The last row ended an env episode; ``episode``: its return and length, None where they cannot be told."""
        self._final_observations[self.length - 1] = final_observation
        if episode is not None:
            self._ended.append((self.length - 1, *episode))
        self._starts.append(self.length)

    def cut(self, final_observation: np.ndarray) -> None:
        """What comes next is missing: the last row is truncated, with its successor as its final observation."""
        if self.goes_on:
            self._truncated[-1] = True
            self.end_episode(final_observation, None)

    def data(self, number: int, next_observation: np.ndarray | None) -> EpisodeData:
        """The window. ``next_observation`` follows its last row; None where that row ended an env episode."""
        final = dict(self._final_observations)
        if next_observation is not None:
            final[self.length - 1] = next_observation
        names = self._extras[0].keys()
        return EpisodeData(
            observations=np.stack(self._observations),
            actions=np.concatenate(self._actions),
            rewards=self.rewards,
            terminated=self._terminated,
            truncated=self._truncated,
            infos=self._infos,
            episode_id=number,
            episode_starts=[row for row in self._starts if row < self.length],
            final_obs=next_observation,
            extras={name: np.concatenate([extras[name] for extras in self._extras]) for name in names},
            final_observations=final,
            episode_returns=[total for _, total, _ in self._ended],
            episode_lengths=[length for _, _, length in self._ended],
            episode_ends=[row for row, _, _ in self._ended],
        )
