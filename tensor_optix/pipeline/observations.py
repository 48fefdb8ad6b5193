"""What becomes of the observations of a space: flattened or as they are, checked, copied, compared?"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Dict, Space, Tuple
from gymnasium.wrappers import FlattenObservation

from tensor_optix.errors import ConfigError, nearest
from tensor_optix.pipeline.nonfinite import Bounds

MODES = ("auto", "flatten", "raw")
FEW_NUMBERS = 12
"""So many are looked at one by one sooner than all at once."""


def observed(env: gym.Env[Any, Any], mode: str) -> gym.Env[Any, Any]:
    """``env`` with its observations in the form that the user chose.

    "auto": arrays as they are (images of bytes stay bytes), Dict and Tuple as one flat vector. "flatten": one flat
    vector in every case (Discrete becomes one-hot). "raw": as they are; of Dict, Tuple and other structures an
    array of objects is made, one for each row. Raises ConfigError.
    """
    space = env.observation_space
    if mode == "raw" or (mode == "auto" and is_array_space(space)):
        return env
    if not space.is_np_flattenable:
        raise ConfigError(
            f"observations of {space} have no fixed length to flatten: pass them through with observations='raw', "
            "or make arrays of them in a wrapper of your own (gymnasium.ObservationWrapper)"
        )
    return FlattenObservation(env)


def checked_mode(mode: Any) -> str:
    """``mode`` as a way to hand observations on. Raises ConfigError."""
    if mode not in MODES:
        raise ConfigError(
            f"observations must be one of {', '.join(map(repr, MODES))}, got {mode!r}.{nearest(str(mode), MODES)}"
        )
    return str(mode)


def is_array_space(space: Space[Any]) -> bool:
    """True where an observation is one array of numbers of a fixed shape."""
    return space.shape is not None and space.dtype is not None and space.dtype.kind in "biuf"


class Unreadable(ValueError):
    """An observation breaks the rule that the message says."""


class Reader(ABC):
    """Observations of one space. Arrays of rows hold them with ``shape`` and ``dtype``."""

    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = np.dtype(object)
    bounds: Bounds | None = None
    """Where observations of the window can be counted that leave their space."""

    @abstractmethod
    def checked(self, observation: Any) -> Any:
        """``observation`` in the space's own type; raises Unreadable."""

    @abstractmethod
    def is_finite(self, observation: Any) -> bool:
        """False where a number in it is NaN or infinite."""

    @abstractmethod
    def clipped(self, observation: Any) -> Any:
        """Finite numbers in place of NaN and infinity."""

    @abstractmethod
    def copied(self, observation: Any) -> Any:
        """As ours: the environment may write to its own again."""

    def boxed(self, observation: Any) -> np.ndarray:
        """As one element of an array of rows: objects are not taken apart."""
        box = np.empty((1,), dtype=object)
        box[0] = observation
        return box.reshape(())

    @abstractmethod
    def content(self, observation: Any) -> bytes:
        """Equal for equal observations."""

    @abstractmethod
    def oddity(self, observation: Any) -> str:
        """Which number in it is not finite, in words."""


def reader_for(space: Space[Any]) -> Reader:
    """How observations of ``space`` are read."""
    if isinstance(space, Dict):
        return _DictReader(space)
    if isinstance(space, Tuple):
        return _TupleReader(space)
    return ArrayReader(space) if is_array_space(space) else _ObjectReader(space)


class ArrayReader(Reader):
    """Box, Discrete, MultiDiscrete and MultiBinary."""

    def __init__(self, space: Space[Any]) -> None:
        self.shape = space.shape or ()
        self.dtype = np.dtype(space.dtype)
        self._bounds = Bounds.of(space)
        self.bounds = self._bounds if self._bounds.exclude_anything(self.dtype) else None
        self._is_finite = _finiteness_test(self.shape, self.dtype)

    def checked(self, observation: Any) -> np.ndarray:
        """A float may be rounded to a shorter one; whole numbers are not cut or wrapped."""
        try:
            array = np.asarray(observation)
        except (TypeError, ValueError) as error:
            raise Unreadable(f"observations must be arrays ({error})") from None
        if array.shape != self.shape:
            raise Unreadable(f"observations must have the space's shape {self.shape}")
        if array.dtype == self.dtype:
            return array
        is_castable = np.can_cast(array.dtype, self.dtype, casting="same_kind")
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is seen as such
            cast = array.astype(self.dtype) if is_castable else array
        if not is_castable or (array.dtype.kind in "iu" and not np.array_equal(cast, array)):
            raise Unreadable(f"observations must be {self.dtype} without loss, not {array.dtype}")
        return cast

    def is_finite(self, observation: Any) -> bool:
        return self._is_finite(observation)

    def clipped(self, observation: Any) -> np.ndarray:
        return self._bounds.clipped(observation)

    def copied(self, observation: Any) -> np.ndarray:
        return np.array(observation, dtype=self.dtype)

    def boxed(self, observation: Any) -> np.ndarray:
        return np.asarray(observation)

    def content(self, observation: Any) -> bytes:
        return self.copied(observation).tobytes()

    def oddity(self, observation: Any) -> str:
        odd = ~np.isfinite(observation)
        first = tuple(int(axis[0]) for axis in np.nonzero(odd))
        return f"{observation[first]} at {list(first)} ({odd.sum()} of {odd.size} not finite)"


class _DictReader(Reader):
    """Part by part."""

    def __init__(self, space: Dict) -> None:
        self._parts = {name: reader_for(part) for name, part in space.spaces.items()}

    def checked(self, observation: Any) -> dict[str, Any]:
        if not isinstance(observation, Mapping) or set(observation) != set(self._parts):
            raise Unreadable(f"observations must be dicts with the keys {', '.join(map(repr, self._parts))}")
        return {name: _checked_part(repr(name), part, observation[name]) for name, part in self._parts.items()}

    def is_finite(self, observation: Any) -> bool:
        return all(part.is_finite(observation[name]) for name, part in self._parts.items())

    def clipped(self, observation: Any) -> dict[str, Any]:
        return {name: part.clipped(observation[name]) for name, part in self._parts.items()}

    def copied(self, observation: Any) -> dict[str, Any]:
        return {name: part.copied(observation[name]) for name, part in self._parts.items()}

    def content(self, observation: Any) -> bytes:
        return b"".join(part.content(observation[name]) for name, part in self._parts.items())

    def oddity(self, observation: Any) -> str:
        odd = next(name for name, part in self._parts.items() if not part.is_finite(observation[name]))
        return f"{self._parts[odd].oddity(observation[odd])} of {odd!r}"


class _TupleReader(_DictReader):
    """As a dict whose keys are the places."""

    def __init__(self, space: Tuple[Any]) -> None:
        self._parts = {str(place): reader_for(part) for place, part in enumerate(space.spaces)}

    def checked(self, observation: Any) -> Any:
        if not isinstance(observation, tuple | list) or len(observation) != len(self._parts):
            raise Unreadable(f"observations must be tuples of {len(self._parts)} parts")
        return self._as_tuple(super().checked(self._as_dict(observation)))

    def is_finite(self, observation: Any) -> bool:
        return super().is_finite(self._as_dict(observation))

    def clipped(self, observation: Any) -> Any:
        return self._as_tuple(super().clipped(self._as_dict(observation)))

    def copied(self, observation: Any) -> Any:
        return self._as_tuple(super().copied(self._as_dict(observation)))

    def content(self, observation: Any) -> bytes:
        return super().content(self._as_dict(observation))

    def oddity(self, observation: Any) -> str:
        return super().oddity(self._as_dict(observation))

    def _as_dict(self, observation: Any) -> dict[str, Any]:
        return dict(zip(self._parts, observation, strict=True))

    def _as_tuple(self, parts: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(parts.values())


class _ObjectReader(Reader):
    """Whatever else a space may hold (text, graphs, sequences): its own ``contains`` is the only rule."""

    def __init__(self, space: Space[Any]) -> None:
        self._space = space

    def checked(self, observation: Any) -> Any:
        if not self._space.contains(observation):
            raise Unreadable(f"observations must belong to {self._space}")
        return observation

    def is_finite(self, observation: Any) -> bool:
        return True

    def clipped(self, observation: Any) -> Any:
        return observation

    def copied(self, observation: Any) -> Any:
        return copy.deepcopy(observation)

    def content(self, observation: Any) -> bytes:
        return repr(observation).encode()

    def oddity(self, observation: Any) -> str:
        return repr(observation)


def _checked_part(name: str, reader: Reader, part: Any) -> Any:
    try:
        return reader.checked(part)
    except Unreadable as error:
        raise Unreadable(f"{error} in the part {name}") from None


def _finiteness_test(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Callable[[np.ndarray], bool]:
    """True for an array of finite numbers; np.isfinite takes several times as long as either way here."""
    isfinite = math.isfinite
    if dtype.kind != "f":
        return lambda observation: True
    if len(shape) == 1 and shape[0] <= FEW_NUMBERS:
        return lambda observation: all(map(isfinite, observation.tolist()))
    zeros, dot = np.zeros(shape, dtype), np.vdot
    return lambda observation: isfinite(dot(observation, zeros))  # whatever is finite is 0 times 0
