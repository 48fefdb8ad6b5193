"""The pipeline contract: where windows of experience come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.types import EpisodeData

EpisodeBoundaryFn = Callable[[int, float, Any], bool]
"""(steps so far, seconds so far, last observation) -> True to end the window here."""


class BasePipeline(ABC):
    """Yields windows collected by the attached agent, for ever. The loop attaches the agent and the streams."""

    @abstractmethod
    def setup(self) -> None:
        """Get ready to collect; called before ``episodes`` by every run."""

    @abstractmethod
    def episodes(self) -> Iterator[EpisodeData]:
        """An endless iterator of windows. A new one goes on where the last one left off."""

    @abstractmethod
    def teardown(self) -> None:
        """Close what the pipeline itself opened; ``setup`` may follow again."""

    def leave_window(self) -> None:
        """The run is to end after this window: one that waits for data ends with what it has. From any thread.

        Default: a window ends by itself soon enough.
        """

    @property
    @abstractmethod
    def is_live(self) -> bool:
        """True for a stream that cannot be reset."""

    @property
    def handed_over(self) -> Sequence[Any]:
        """Environment objects of the caller's that windows come from: nothing else may step them. Default: none."""
        return ()

    def set_agent(self, agent: BaseAgent) -> None:
        """Collect with ``agent`` from now on. Default: the pipeline knows its agent already."""

    def seed(self, streams: RandomStreams) -> None:
        """Draw everything random from ``streams``. Default: nothing random is ours."""

    @property
    def max_episode_steps(self) -> int | None:
        """The step limit of one env episode, where one is known."""
        return None

    @property
    def reward_threshold(self) -> float | None:
        """The return at which the environment counts as solved, where it says so."""
        return None

    @property
    def window_steps(self) -> int | None:
        """The env steps of one window, where that is a fixed number."""
        return None

    @property
    def description(self) -> str:
        """What is being collected from, in a few words for people (for example the environment's id)."""
        return type(self).__name__

    @property
    def fingerprint(self) -> dict[str, str]:
        """What must be the same for a run to be continued with this pipeline, in words."""
        return {"pipeline": type(self).__name__, "source": self.description}

    @property
    def health(self) -> Mapping[str, int]:
        """What was repaired, dropped or cut so far, counted by name. Default: nothing is."""
        return {}

    def evaluate(
        self, agent: BaseAgent, *, seeds: Sequence[int], deterministic: bool = True
    ) -> EpisodeData | None:
        """One complete env episode per seed, from reset, on an environment that is not the training one.

        None (default) where no such environment can be had.
        """
        return None

    @property
    def continues_exactly(self) -> bool:
        """False for a source that goes on while nobody looks: what came meanwhile is missing after a resume."""
        return True

    def state_dict(self) -> dict[str, Any] | None:
        """What an exact continuation needs, or None (default): a resumed run starts the environments anew."""
        return None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        raise NotImplementedError(f"{type(self).__name__} gives no state_dict")
