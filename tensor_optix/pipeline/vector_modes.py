"""What becomes of env episodes that ended, in each way in which a vector environment resets its environments?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import ConfigError, EnvError
from tensor_optix.pipeline.lane import Lane
from tensor_optix.pipeline.observations import Unreadable, reader_for
from tensor_optix.pipeline.step_alarm import StepAlarm
from tensor_optix.pipeline.vector_crew import VectorCrew
from tensor_optix.pipeline.vector_slots import Slot, Vector


class NextStepCrew(VectorCrew):
    """The step after the end of an env episode is its reset: it gives no row."""

    def start_over(self) -> None:
        super().start_over()
        self._is_due = [False] * len(self.slots)

    def _take(self, slot: Slot, result: tuple[Any, Any, Any, Any, dict[str, Any]]) -> None:
        observation, _, terminated, truncated, info = result
        if self._is_due[slot.index]:
            slot.first, self._is_due[slot.index] = (observation, info), False
            return
        slot.result, slot.first = result, None
        self._is_due[slot.index] = bool(terminated or truncated)


class SameStepCrew(VectorCrew):
    """The step that ends an env episode resets it: its last observation and info are in the infos.

    An environment that fills one and the same object at every step writes the first observation of the next env
    episode over the last one of this, before anybody sees that. Gymnasium's vectors do not copy it: such an
    environment is found out, and refused.
    """

    def __init__(self, vector: Vector, alarm: StepAlarm) -> None:
        super().__init__(vector, alarm)
        self._reader = reader_for(vector.single_observation_space)
        self._equal: list[set[bytes]] = [set() for _ in self.slots]

    def start_over(self) -> None:
        super().start_over()
        self._given: list[tuple[Any, bytes]] = [(None, b"")] * len(self.slots)

    def _take(self, slot: Slot, result: tuple[Any, Any, Any, Any, dict[str, Any]]) -> None:
        observation, reward, terminated, truncated, info = result
        given, content = self._given[slot.index]
        self._given[slot.index] = (None, b"")
        if content and self._reader.content(given) != content:
            raise self._overwritten(slot)
        slot.result, slot.first = result, None
        if not (terminated or truncated):
            return
        if "final_obs" not in info:
            raise self._error("broke the contract: it resets in the same step and gives no infos['final_obs']")
        final_observation, final_info = info.pop("final_obs"), info.pop("final_info", {})
        slot.result = (final_observation, reward, terminated, truncated, final_info)
        slot.first = (observation, info)
        self._look_into(slot, final_observation, observation)

    def _look_into(self, slot: Slot, final: Any, first: Any) -> None:
        """Is ``final`` what the env episode ended with? Where it is the environment's object, the next step shows it.

        Where it comes out of another process it cannot change any more. It is then equal to the first observation of
        the next env episode, and by chance that is so once, but not for two different ones.
        """
        try:
            content, first_content = (self._reader.content(self._reader.checked(seen)) for seen in (final, first))
        except Unreadable:
            return  # that is told when it is read
        bare = self._vector.unwrapped
        if isinstance(bare, SyncVectorEnv):
            self._given[slot.index] = (final, content)
        elif isinstance(bare, AsyncVectorEnv) and content == first_content:
            self._equal[slot.index].add(content)
            if len(self._equal[slot.index]) > 1:
                raise self._overwritten(slot)

    def _overwritten(self, slot: Slot) -> EnvError:
        return self._error(
            f"loses final observations: environment {slot.index} fills the same object again when it is reset in the "
            "same step. Use another autoreset_mode, give the factories instead of the vector, or let it return copies"
        )


class ManualCrew(VectorCrew):
    """Nothing resets itself: we do it, with seeds of ours."""

    def begin_resets(self, lanes: Sequence[Lane], streams: RandomStreams) -> None:
        if not self._is_started:
            super().begin_resets(lanes, streams)
            return
        seeds = [lane.next_seed(streams) for lane in lanes]
        indices, all_seeds = [lane.index for lane in lanes], [0] * len(self.slots)
        mask = np.zeros(len(self.slots), dtype=np.bool_)
        for index, seed in zip(indices, seeds, strict=True):
            mask[index], all_seeds[index] = True, seed
        self._take_resets(self._call("reset", partial(self._seeded, all_seeds, {"reset_mask": mask})), indices)

    def can_reset(self, lane: Lane) -> bool:
        return True

    def _start(self, indices: Sequence[int], seeds: Sequence[int]) -> None:
        self._take_resets(self._call("reset", partial(self._seeded, list(seeds), None)), indices)

    def _take(self, slot: Slot, result: tuple[Any, Any, Any, Any, dict[str, Any]]) -> None:
        slot.result = result

    def _seeded(self, seeds: Any, options: dict[str, Any] | None) -> Any:
        return self._vector.reset(seed=seeds, options=options)


CREWS: dict[AutoresetMode, type[VectorCrew]] = {
    AutoresetMode.NEXT_STEP: NextStepCrew,
    AutoresetMode.SAME_STEP: SameStepCrew,
    AutoresetMode.DISABLED: ManualCrew,
}


def crew_for(vector: Vector, alarm: StepAlarm) -> VectorCrew:
    """The crew that knows when ``vector`` resets its environments. Raises ConfigError where it does not say."""
    mode = vector.metadata.get("autoreset_mode")
    try:
        return CREWS[AutoresetMode(mode)](vector, alarm)
    except ValueError:
        raise ConfigError(
            f"the vector environment {type(vector.unwrapped).__name__} does not say when it resets its "
            f"environments (metadata['autoreset_mode'] is {mode!r}): set it to a gymnasium.vector.AutoresetMode"
        ) from None
