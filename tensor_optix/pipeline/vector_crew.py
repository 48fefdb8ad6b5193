"""How is a ready vector environment stepped as one, and how is all that was done with it done again?"""

from __future__ import annotations

import copy
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector.utils import iterate

from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import EnvError
from tensor_optix.pipeline.action_history import ActionHistory
from tensor_optix.pipeline.crew import Crew
from tensor_optix.pipeline.lane import Lane
from tensor_optix.pipeline.nonfinite import NonFiniteReading
from tensor_optix.pipeline.observations import is_array_space
from tensor_optix.pipeline.step_alarm import StepAlarm
from tensor_optix.pipeline.vector_slots import Slot, Vector, info_of

logger = logging.getLogger(__name__)


TOO_LONG, MISMATCH = "resume_too_long", "resume_mismatch"


class VectorCrew(Crew):
    """A vector environment, stepped as one. Subclasses say what becomes of env episodes that ended."""

    is_lockstep = True

    def __init__(self, vector: Vector, alarm: StepAlarm) -> None:
        self._vector, self._alarm = vector, alarm
        name = vector.spec.id if vector.spec is not None else type(vector.unwrapped).__name__
        self.slots = [Slot(vector, index, name) for index in range(vector.num_envs)]
        self._some_action = _some_action(vector.single_action_space)
        self._dtype = vector.action_space.dtype
        self._history = ActionHistory()
        self._first_episodes: list[int] = []
        self._is_started = False
        self.start_over()

    def begin_resets(self, lanes: Sequence[Lane], streams: RandomStreams) -> None:
        if not self._is_started:
            self._first_episodes = [lane.env_episodes for lane in lanes]
            self._start([lane.index for lane in lanes], [lane.next_seed(streams) for lane in lanes])
            self._is_started = True

    def begin_steps(self, lanes: Sequence[Lane], actions: Sequence[Any]) -> None:
        for lane, action in zip(lanes, actions, strict=True):
            self._actions[lane.index] = action
        batch = np.array(self._actions).astype(self._dtype, copy=False)
        self._history.add(batch)
        result = self._call("step", lambda: self._vector.step(batch))
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
        self._actions = [self._some_action] * len(self.slots)
        self._first_episodes = []
        self._history.clear()

    @property
    def continues_exactly(self) -> bool:
        return self._history.is_complete

    def state_dict(self) -> dict[str, Any]:
        """What the vector was given since it was started: it resets itself, so that only all of it leads back here."""
        if not self._is_started:
            return {}
        return {
            "first_episodes": self._first_episodes,
            "replayable": self._history.is_complete,
            "actions": self._history.actions,
        }

    def resume(
        self, lanes: Sequence[Lane], state: Mapping[str, Any], lane_states: Mapping[str, Any], streams: RandomStreams
    ) -> list[str]:
        problem = None
        if state:
            problem = self._played_again(lanes, state, lane_states, streams) if state["replayable"] else TOO_LONG
        for lane in lanes:
            lane.load_counters(lane_states[str(lane.index)])
        if problem is None:
            return []
        for lane in lanes:
            lane.close_episode()
        self.start_over()
        logger.warning("the vector environment %s could not be had again (%s): its env episodes start anew",
                       self.slots[0].name, problem)  # fmt: skip
        return [problem]

    def _played_again(
        self, lanes: Sequence[Lane], state: Mapping[str, Any], lane_states: Mapping[str, Any], streams: RandomStreams
    ) -> str | None:
        """Do it all again; what stood in the way of that."""
        n_steps = len(state["actions"])
        logger.info("playing %d steps of the vector environment %s again", n_steps, self.slots[0].name)
        self.start_over()
        for lane, episode in zip(lanes, state["first_episodes"], strict=True):
            lane.close_episode()
            lane.env_episodes = int(episode)
        try:
            for batch in state["actions"]:
                self._reset_closed(lanes, streams)
                self._step_open(lanes, batch)
        except EnvError as error:
            logger.warning("%s", error)
            return MISMATCH
        for lane in lanes:
            if lane.is_open:
                lane.runner.observation = lane.runner.copied(lane.runner.observation)
        is_same = all(lane.is_where(lane_states[str(lane.index)]) for lane in lanes)
        return None if is_same else MISMATCH

    def _reset_closed(self, lanes: Sequence[Lane], streams: RandomStreams) -> None:
        while closed := [lane for lane in lanes if not lane.is_open and self.can_reset(lane)]:
            self.begin_resets(closed, streams)
            for lane in closed:
                try:
                    lane.begin_episode(streams)
                except NonFiniteReading:
                    lane.close_episode()

    def _step_open(self, lanes: Sequence[Lane], batch: np.ndarray) -> None:
        ready = [lane for lane in lanes if lane.is_open]
        actions = [_as_given(batch[lane.index], self._vector.single_action_space) for lane in ready]
        self.begin_steps(ready, actions)
        for lane, action in zip(ready, actions, strict=True):
            try:
                _, _, terminated, truncated, _ = lane.runner.step(action)
            except NonFiniteReading:
                lane.close_episode()
                continue
            if terminated or truncated:
                lane.finish_episode()

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


def _column(values: Any) -> Sequence[Any]:
    return values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else list(values)


def _as_given(action: Any, space: gym.Space[Any]) -> Any:
    """An action as a pipeline hands it on: a number in Python where it is one."""
    return int(action) if isinstance(space, Discrete) else action


def _some_action(space: gym.Space[Any]) -> Any:
    """For an environment that does not listen."""
    if isinstance(space, Discrete):
        return int(space.start)
    fixed = copy.deepcopy(space)
    fixed.seed(0)
    return fixed.sample()
