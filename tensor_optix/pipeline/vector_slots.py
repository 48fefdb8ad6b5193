"""How does a ready vector environment look like several single ones, whichever way it resets itself?"""

from __future__ import annotations

import copy
import logging
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import Error
from gymnasium.spaces import Discrete
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import iterate

from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import ConfigError, EnvError
from tensor_optix.pipeline.crew import Crew
from tensor_optix.pipeline.environments import Env, EnvSource, HandedOverEnv, StandIn
from tensor_optix.pipeline.lane import Lane
from tensor_optix.pipeline.observations import Unreadable, is_array_space, reader_for
from tensor_optix.pipeline.step_alarm import StepAlarm

logger = logging.getLogger(__name__)

Vector = VectorEnv[Any, Any, Any]

VECTOR_KWARGS = ("num_envs", "vectorization_mode", "vector_kwargs", "max_episode_steps")
"""What gymnasium.make_vec records in a spec besides the environment's own arguments."""


class Slot(StandIn):
    """One environment of a vector: gives what the last call of the whole vector brought for it."""

    def __init__(self, vector: Vector, index: int, name: str) -> None:
        self.observation_space = vector.single_observation_space
        self.action_space = vector.single_action_space
        self.index = index
        self.name = name
        self.max_episode_steps = vector.spec.max_episode_steps if vector.spec is not None else None
        self.first: tuple[Any, dict[str, Any]] | None = None
        self.result: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        first, self.first = self.first, None
        return first

    def step(self, action: Any) -> Any:
        return self.result


class Slots(EnvSource):
    """One slot; the vector belongs to the caller."""

    is_rebuildable = False

    def __init__(self, slot: Slot, vector: Vector, observations: str) -> None:
        super().__init__(observations)
        self._slot, self._vector = slot, vector
        self.observed(slot)  # what cannot be read is refused at once

    def training_env(self) -> Env:
        return self._slot

    def separate_env(self) -> Env | None:
        """One like those of the vector, where that has not been changed by wrappers of its own."""
        vector = self._vector
        if isinstance(vector, SyncVectorEnv):
            return HandedOverEnv(vector.envs[0], "raw").separate_env()
        if vector is not vector.unwrapped or vector.spec is None or "wrappers" in vector.spec.kwargs:
            return None
        try:
            env = gym.make(vector.spec.id, **_kwargs_for_one(vector.spec.kwargs))
        except (Error, ValueError, TypeError, AttributeError, ImportError) as error:
            logger.info("%s cannot be had as a single environment: %s", self._slot.name, error)
            return None
        if (env.observation_space, env.action_space) == (self._slot.observation_space, self._slot.action_space):
            return env
        env.close()
        return None


class VectorCrew(Crew):
    """A vector environment, stepped as one. Subclasses say what becomes of env episodes that ended."""

    is_lockstep = True

    def __init__(self, vector: Vector, alarm: StepAlarm) -> None:
        self._vector, self._alarm = vector, alarm
        name = vector.spec.id if vector.spec is not None else type(vector.unwrapped).__name__
        self.slots = [Slot(vector, index, name) for index in range(vector.num_envs)]
        self._actions = [_some_action(vector.single_action_space)] * vector.num_envs
        self._is_started = False

    def begin_resets(self, lanes: Sequence[Lane], streams: RandomStreams) -> None:
        if not self._is_started:
            self._start([lane.index for lane in lanes], [lane.next_seed(streams) for lane in lanes])
            self._is_started = True

    def begin_steps(self, lanes: Sequence[Lane], actions: Sequence[Any]) -> None:
        for lane, action in zip(lanes, actions, strict=True):
            self._actions[lane.index] = action
        batch = np.stack([np.asarray(action) for action in self._actions])
        result = self._call("step", lambda: self._vector.step(batch.astype(self._vector.action_space.dtype)))
        if not isinstance(result, tuple) or len(result) != 5:
            raise self._error("broke the contract: step must return (observations, rewards, terminations, "
                              f"truncations, infos), got {type(result).__name__}")  # fmt: skip
        observations, infos = self._rows(result[0]), result[4]
        columns = [_column(values) for values in result[1:4]]
        if any(len(values) != len(self.slots) for values in (observations, *columns)):
            raise self._error(f"broke the contract: step must return one of each for {len(self.slots)} environments")
        for slot, observation, reward, terminated, truncated in zip(self.slots, observations, *columns, strict=True):
            info = info_of(infos, slot.index) if infos else {}
            self._take(slot, (observation, reward, terminated, truncated, info))

    def can_reset(self, lane: Lane) -> bool:
        return not self._is_started or self.slots[lane.index].first is not None

    def start_over(self) -> None:
        self._is_started = False

    def release(self, lanes: Sequence[Lane]) -> None:
        """Nothing: the vector stays the caller's, with its open env episodes."""

    def _start(self, indices: Sequence[int], seeds: Sequence[int]) -> None:
        """Reset all environments."""
        self._take_resets(self._call("reset", lambda: self._vector.reset(seed=seeds[0] % 2**31)), indices)

    @abstractmethod
    def _take(self, slot: Slot, result: tuple[Any, Any, Any, Any, dict[str, Any]]) -> None:
        """Put down what a step of the vector brought for one environment."""

    def _take_resets(self, result: Any, indices: Sequence[int]) -> None:
        if not isinstance(result, tuple) or len(result) != 2:
            raise self._error(f"broke the contract: reset must return (observations, infos), got {result!r}")
        observations = self._rows(result[0])
        for index in indices:
            self.slots[index].first = (observations[index], info_of(result[1], index))

    def _rows(self, observations: Any) -> Sequence[Any]:
        """One observation for each environment."""
        if is_array_space(self._vector.single_observation_space):
            return observations  # type: ignore[no-any-return]
        return list(iterate(self._vector.observation_space, observations))

    def _call(self, method: str, call: Any) -> Any:
        try:
            return self._alarm.call(method, call)
        except Exception as error:
            raise self._error(f"raised in {method}: {type(error).__name__}: {error}") from error

    def _error(self, what: str) -> EnvError:
        return EnvError(f"the vector environment {self.slots[0].name} {what}")


class NextStepCrew(VectorCrew):
    """The step after the end of an env episode is its reset: it gives no row."""

    def __init__(self, vector: Vector, alarm: StepAlarm) -> None:
        super().__init__(vector, alarm)
        self._is_due = [False] * vector.num_envs

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
        self._given: list[tuple[Any, bytes]] = [(None, b"")] * vector.num_envs
        self._equal: list[set[bytes]] = [set() for _ in self.slots]

    def start_over(self) -> None:
        super().start_over()
        self._given = [(None, b"")] * len(self.slots)

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


def info_of(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """What the infos of a vector say about one environment: the entries whose mask has it, in nested dicts too."""
    found = {}
    for name, values in infos.items():
        mask = infos.get(f"_{name}")
        if mask is None or not mask[index]:
            continue
        found[name] = info_of(values, index) if isinstance(values, dict) else values[index]
    return found


def _column(values: Any) -> Sequence[Any]:
    return values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else list(values)


def _some_action(space: gym.Space[Any]) -> Any:
    """For an environment that does not listen."""
    if isinstance(space, Discrete):
        return int(space.start)
    fixed = copy.deepcopy(space)
    fixed.seed(0)
    return fixed.sample()


def _kwargs_for_one(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Without what only a vector of environments takes."""
    return {name: value for name, value in kwargs.items() if name not in VECTOR_KWARGS}
