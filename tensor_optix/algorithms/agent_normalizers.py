"""How does an agent use running statistics of observations and rewards: when frozen, when brought up to date?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ArchitectureMismatch


class ObservationStatistics(Protocol):
    """What is asked of ``ObsNormalizer``."""

    def update(self, x: np.ndarray, /) -> None: ...
    def normalize(self, x: np.ndarray, /) -> np.ndarray: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class RewardStatistics(Protocol):
    """What is asked of ``RewardNormalizer``."""

    def update_window(self, window: EpisodeData, /) -> None: ...
    def normalize(self, rewards: np.ndarray, /) -> np.ndarray: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class AgentNormalizers:
    """The statistics of one agent; either may be absent, and then nothing is changed.

    Between two calls of ``take_in`` they stand still, so that acting, old log-probabilities, values and all epochs
    see the same numbers.
    """

    def __init__(self, observations: ObservationStatistics | None, rewards: RewardStatistics | None) -> None:
        self._observations, self._rewards = observations, rewards

    @property
    def observation_statistics(self) -> ObservationStatistics | None:
        """Those of observations."""
        return self._observations

    def observations(self, raw: np.ndarray) -> np.ndarray:
        """[N, ...] in float32."""
        seen = raw if self._observations is None else self._observations.normalize(raw)
        return np.asarray(seen, dtype=np.float32)

    def rewards(self, raw: Any) -> np.ndarray:
        """[N] in float64."""
        rewards = np.asarray(raw, dtype=np.float64)
        return rewards if self._rewards is None else np.asarray(self._rewards.normalize(rewards), dtype=np.float64)

    def take_in(self, window: EpisodeData) -> None:
        """Bring the statistics up to date with a window that has been learned from."""
        if self._observations is not None:
            self._observations.update(np.asarray(window.observations))
        if self._rewards is not None:
            self._rewards.update_window(window)

    def state_dict(self) -> dict[str, Any]:
        return {name: statistics.state_dict() for name, statistics in self._present.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, statistics in self._present.items():
            statistics.load_state_dict(state[name])

    def require_fit(self, state: Mapping[str, Any], source: str) -> None:
        """Raise ArchitectureMismatch where ``state`` has other statistics: its weights would see other numbers."""
        here, there = sorted(self._present), sorted(state)
        if here != there:
            raise ArchitectureMismatch(
                source, f"weights that work with normalizers of {_listed(there)}, but this agent has {_listed(here)}"
            )

    @property
    def _present(self) -> dict[str, ObservationStatistics | RewardStatistics]:
        both = {"observations": self._observations, "rewards": self._rewards}
        return {name: statistics for name, statistics in both.items() if statistics is not None}


def _listed(names: list[str]) -> str:
    return " and ".join(names) or "nothing"
