"""Where in the stream does the agent stand: on which observation, how far into which env episode?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tensor_optix.pipeline.live.record import Record


@dataclass(frozen=True)
class Place:
    """The observation to act on next, and what its env episode has brought so far.

    observation: None between two env episodes, and where nothing is known: the next record is the place then.
    is_whole: the env episode was seen from its beginning, so that its return can be told.
    """

    observation: np.ndarray | None = None
    episode_return: float = 0.0
    steps: int = 0
    is_whole: bool = True

    @property
    def is_open(self) -> bool:
        """True when the agent stands on an observation of an env episode that goes on."""
        return self.observation is not None

    def begin(self, record: Record) -> Place:
        """``record`` is the first one that is seen of its env episode; its reward answers nothing that we did.

        Behind a gap in an env episode it is unknown whether the same one goes on: its return cannot be told.
        """
        if record.done:
            return Place()
        return Place(record.observation, is_whole=self.is_whole and not (record.gap and self.is_open))

    def after(self, record: Record, *, steps: int = 1) -> Place:
        """``record`` came of what was done here."""
        if record.done:
            return Place()
        return Place(record.observation, self.episode_return + record.reward, self.steps + steps, self.is_whole)

    def lost(self) -> Place:
        """What came next was not kept."""
        return Place(is_whole=self.is_whole and not self.is_open)

    def with_late_reward(self, reward: float) -> Place:
        """``reward`` came for an action before the one that is in force."""
        return replace(self, episode_return=self.episode_return + reward)

    def state_dict(self) -> dict[str, Any]:
        """The place as a state tree."""
        return {
            "observation": self.observation, "episode_return": self.episode_return, "steps": self.steps,
            "is_whole": self.is_whole,
        }  # fmt: skip

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Place:
        """The place that ``state_dict`` described."""
        return cls(state["observation"], float(state["episode_return"]), state["steps"], state["is_whole"])
