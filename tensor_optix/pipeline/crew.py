"""Who sets several environments going at once, before each is asked what came of it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensor_optix.core.rng import RandomStreams
from tensor_optix.pipeline.lane import Lane


class Crew:
    """Environments of this process: each is reset and stepped when it is asked, so there is nothing to set going."""

    is_lockstep = False
    """True where a step is one of all environments: then a window is so many steps, whatever rows they give."""

    def prepare(self, lanes: Sequence[Lane]) -> None:
        """Build what is not there yet."""
        for lane in lanes:
            lane.prepare()

    def begin_resets(self, lanes: Sequence[Lane], streams: RandomStreams) -> None:
        """These lanes are going to be reset, each with its ``next_seed``."""

    def begin_steps(self, lanes: Sequence[Lane], actions: Sequence[Any]) -> None:
        """These lanes are going to be stepped with these actions, in the environment's units."""

    def can_reset(self, lane: Lane) -> bool:
        """False where the environment resets itself and has not done so yet."""
        return True

    @property
    def continues_exactly(self) -> bool:
        """False where the open env episodes cannot be had again."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """What the lanes do not know themselves."""
        return {}

    def resume(
        self, lanes: Sequence[Lane], state: Mapping[str, Any], lane_states: Mapping[str, Any], streams: RandomStreams
    ) -> list[str]:
        """Have the open env episodes again; what stood in the way of that, as ``health`` names it."""
        self.prepare(lanes)
        problems = [lane.load_state_dict(lane_states[str(lane.index)], streams) for lane in lanes]
        return [problem for problem in problems if problem is not None]

    def start_over(self) -> None:
        """Every open env episode was lost."""

    def release(self, lanes: Sequence[Lane]) -> None:
        """Close what was built here."""
        for lane in lanes:
            lane.release()
