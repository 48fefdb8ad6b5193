"""What does an environment get for an agent's action? The one place where units change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from tensor_optix.errors import AgentError, ConfigError

ToEnvAction = Callable[[Any], Any]
WHOLE_NUMBERS = (np.integer, int)


def action_converter(space: Space[Any], *, in_unit_box: bool = False) -> ToEnvAction:
    """The function that turns an agent's action into one of ``space``.

    Discrete: agents act in 0..n-1, the environment gets an int with the space's ``start`` added. Box: an array of
    the space's shape and type; from (-1, 1) scaled to the bounds where ``in_unit_box`` and every bound is finite.
    The returned function gives an array of its own and raises AgentError for an action that the space cannot have;
    a finite action outside a Box is the environment's to judge, as Gymnasium has it.
    """
    if isinstance(space, Discrete):
        return _discrete(space)
    if isinstance(space, Box):
        is_scaled = in_unit_box and space.is_bounded() and np.issubdtype(space.dtype, np.floating)
        return _unit_box(space) if is_scaled else _box(space)
    if isinstance(space, MultiDiscrete | MultiBinary):
        return _several(space)
    raise ConfigError(f"actions of {space} are not supported: use Discrete, MultiDiscrete, MultiBinary or Box")


def _discrete(space: Discrete[Any]) -> ToEnvAction:
    n, start = int(space.n), int(space.start)

    def convert(action: Any) -> int:
        index = int(action) if isinstance(action, WHOLE_NUMBERS) else _whole_number(action, space)
        if not 0 <= index < n:
            raise AgentError(f"the agent chose action {index}, but {space} has the actions 0 to {n - 1}")
        return index + start

    return convert


def _whole_number(action: Any, space: Discrete[Any]) -> int:
    values = np.asarray(action)
    if values.size != 1 or values.dtype.kind not in "iubf" or values.item() != np.floor(values.item()):
        raise AgentError(f"the agent chose action {action!r}, but {space} needs one whole number")
    return int(values.item())


def _box(space: Box) -> ToEnvAction:
    shape, dtype = space.shape, space.dtype

    def convert(action: Any) -> np.ndarray:
        env_action = np.array(action, dtype=dtype)
        if env_action.shape != shape:
            env_action = _reshaped(env_action, space)
        # for the few numbers of an action plain Python is ten times as fast as np.isfinite
        if not all(map(math.isfinite, env_action.ravel().tolist())):
            raise AgentError(f"the agent chose action {action!r}, but {space} needs finite numbers")
        return env_action

    return convert


def _unit_box(space: Box) -> ToEnvAction:
    low, high = space.low, space.high
    half_width, middle = high / 2 - low / 2, high / 2 + low / 2  # the difference of the largest floats overflows
    as_box = _box(space)

    def convert(action: Any) -> np.ndarray:
        env_action: np.ndarray = as_box(action)
        env_action *= half_width
        env_action += middle
        np.maximum(env_action, low, out=env_action)  # rounding may leave the bounds by a hair
        np.minimum(env_action, high, out=env_action)
        return env_action

    return convert


def _reshaped(action: np.ndarray, space: Box) -> np.ndarray:
    if action.size != np.prod(space.shape):
        raise AgentError(f"the agent chose an action of shape {action.shape}, but {space} needs {space.shape}")
    return action.reshape(space.shape)


def _several(space: MultiDiscrete | MultiBinary) -> ToEnvAction:
    start = space.start if isinstance(space, MultiDiscrete) else 0

    def convert(action: Any) -> np.ndarray:
        env_action = np.array(action + start, dtype=space.dtype)
        if not space.contains(env_action):
            raise AgentError(f"the agent chose action {action!r}, which {space} does not have")
        return env_action

    return convert
