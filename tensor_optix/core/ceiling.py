"""Can returns rise any further? Not when every episode runs into its time limit with the best return ever seen."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tensor_optix.core.convergence import EndedEpisode


@dataclass(frozen=True)
class Ceiling:
    """Watches for returns that cannot rise: all recent episodes truncated, with one return, the best ever seen.

    ``streak`` counts consecutive ticks at which that held. Whether anything was *learned* on the way is asked
    elsewhere: a policy that never solves MountainCar also ends every episode truncated at the same return.
    """

    EPISODES = 20
    TICKS = 2

    recent: deque[EndedEpisode] = field(default_factory=lambda: deque(maxlen=Ceiling.EPISODES))
    best: float = -np.inf
    streak: int = 0

    def after(self, episodes: Sequence[EndedEpisode]) -> Ceiling:
        """The state after one more tick."""
        recent = deque([*self.recent, *episodes], maxlen=self.EPISODES)
        best = max([self.best, *(episode.episode_return for episode in episodes)])
        at_the_top = [episode for episode in recent if episode.truncated and episode.episode_return == best]
        return Ceiling(recent, best, self.streak + 1 if len(at_the_top) == self.EPISODES else 0)

    @property
    def is_reached(self) -> bool:
        return self.streak >= self.TICKS

    @property
    def explanation(self) -> str:
        return (
            f"the last {self.EPISODES} episodes all ran into the time limit with a return of {self.best:g}, "
            "the best seen: nothing is left to gain"
        )

    def state_dict(self) -> dict[str, Any]:
        """This state as JSON values."""
        return {**asdict(self), "recent": [asdict(episode) for episode in self.recent]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ceiling:
        """The inverse of ``state_dict``."""
        recent = deque((EndedEpisode(**episode) for episode in state["recent"]), maxlen=cls.EPISODES)
        return cls(**{**state, "recent": recent})
