"""Who sets several environments going at once, before each is asked what came of it?"""

from __future__ import annotations

from collections.abc import Sequence
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

    def start_over(self) -> None:
        """Every open env episode was lost."""

    def release(self, lanes: Sequence[Lane]) -> None:
        """Close what was built here."""
        for lane in lanes:
            lane.release()
