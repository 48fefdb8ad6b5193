"""What is one record of a live feed, and what is none?

A record says what the world looks like now (observation) and what came of what was done before (reward, terminated,
truncated, info): exactly what the step of an environment returns. Record t+1 therefore answers the action that was
chosen at record t.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from tensor_optix.errors import ConfigError

Key = int | float | str
KeyFn = Callable[[Mapping[str, Any]], Any]

MAX_OBSERVATION_BYTES = 1 << 26
_OBSERVATION_NAMES = ("observation", "obs")
_OWN_NAMES = {*_OBSERVATION_NAMES, "reward", "terminated", "truncated", "info"}


@dataclass(slots=True)
class Record:
    """A checked record.

    key: its place in the sequence (a time stamp or a number), where records have one.
    position: what the source can be asked to go on after; number: its place in the order of arrival;
    digest: of its content, where it has a key.
    gap: something is missing between the record before and this one.
    """

    observation: np.ndarray
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    key: Key | None = None
    position: Key | None = None
    number: int = 0
    digest: str = ""
    gap: bool = False

    @property
    def done(self) -> bool:
        """Terminated or truncated: this observation is the last of its env episode."""
        return self.terminated or self.truncated


class MalformedRecord(ValueError):
    """Something arrived that is no record. ``reason`` is one of a few words, by which it is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class RecordReader:
    """Checks what arrives. Every observation has the shape and type of the first one, or of ``like``.

    key: how a record's sequence key is found: the name of an entry of its info (for a table, of any entry that is
    none of the five), or a function of the info. Numbers in lists become float32, arrays keep their type.
    """

    def __init__(self, key: str | KeyFn | None = None, like: tuple[tuple[int, ...], Any] | None = None) -> None:
        if key is not None and not isinstance(key, str) and not callable(key):
            raise ConfigError(f"key must be the name of an entry or a function of the info, got {key!r}")
        self._key = key
        self._key_type: type | None = None
        self._shape = like[0] if like is not None else None
        self._dtype = np.dtype(like[1]) if like is not None else None

    def read(self, item: Any) -> Record:
        """``item``, a tuple of five or a table with their names, as a record. Raises MalformedRecord."""
        observation, reward, terminated, truncated, info = _parts(item)
        record = Record(
            self._observation(observation), _number(reward), _claim(terminated), _claim(truncated), dict(info),
            self._key_of(info),
        )  # fmt: skip
        self._shape, self._dtype = record.observation.shape, record.observation.dtype
        return record

    def state_dict(self) -> dict[str, Any]:
        """Shape and type of the observations, once they are known."""
        return {
            "shape": None if self._shape is None else list(self._shape),
            "dtype": None if self._dtype is None else self._dtype.str,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        if state["shape"] is not None:
            self._shape, self._dtype = tuple(state["shape"]), np.dtype(state["dtype"])

    def _observation(self, value: Any) -> np.ndarray:
        array = _array(value, self._dtype)
        if self._shape is not None and array.shape != self._shape:
            raise MalformedRecord("shape", f"the observation has shape {array.shape}, others have {self._shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise MalformedRecord("not_finite", "the observation holds a number that is not finite")
        return array

    def _key_of(self, info: Mapping[str, Any]) -> Key | None:
        if self._key is None:
            return None
        try:
            key = info[self._key] if isinstance(self._key, str) else self._key(info)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise MalformedRecord("key", f"has no key: {error!r}") from None
        key = key.item() if isinstance(key, np.generic) else key
        kind = str if isinstance(key, str) else float
        if isinstance(key, bool) or not (isinstance(key, str | int) or (isinstance(key, float) and isfinite(key))):
            raise MalformedRecord("key", f"the key {key!r} is neither a finite number nor text")
        if self._key_type not in (None, kind):
            raise MalformedRecord("key", f"the key {key!r} cannot be compared with those before it")
        self._key_type = kind
        return key


def _parts(item: Any) -> tuple[Any, Any, Any, Any, Mapping[str, Any]]:
    if isinstance(item, Mapping):
        item = _from_table(item)
    if not isinstance(item, tuple | list) or len(item) != 5:
        raise MalformedRecord(
            "not_a_record", f"a record is (observation, reward, terminated, truncated, info), not a {_kind(item)}"
        )
    info = {} if item[4] is None else item[4]
    if not isinstance(info, Mapping):
        raise MalformedRecord("info", f"info must be a table, not a {_kind(info)}")
    return item[0], item[1], item[2], item[3], info


def _from_table(table: Mapping[str, Any]) -> tuple[Any, ...]:
    """The five parts of a table; entries with other names join the info."""
    name = next((name for name in _OBSERVATION_NAMES if name in table), None)
    if name is None or "reward" not in table:
        missing = "observation" if name is None else "reward"
        raise MalformedRecord("missing_entry", f"a record needs the entry {missing!r}")
    info = table.get("info") or {}
    if not isinstance(info, Mapping):
        raise MalformedRecord("info", f"info must be a table, not a {_kind(info)}")
    rest = {name: value for name, value in table.items() if name not in _OWN_NAMES}
    done = (table.get("terminated", False), table.get("truncated", False))
    return table[name], table["reward"], *done, {**rest, **info}


def _array(value: Any, dtype: np.dtype[Any] | None) -> np.ndarray:
    """A copy of ``value`` as an array of finite size: a source may fill the same buffer again."""
    try:
        with np.errstate(over="ignore"):  # what overflows becomes infinite, and is seen as such
            is_array = isinstance(value, np.ndarray | np.generic)
            array = np.array(value) if is_array else np.array(value, dtype=np.float32)
        if array.dtype.kind not in "biuf" or array.nbytes > MAX_OBSERVATION_BYTES or _holds_text(value):
            raise MalformedRecord("observation", f"an observation is an array of numbers, not {_kind(value)}")
        return array if dtype is None or array.dtype == dtype else _cast(array, dtype)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, MalformedRecord):
            raise
        raise MalformedRecord("observation", f"an observation is an array of numbers: {error}") from None


def _cast(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "biu" and not np.array_equal(cast, array):
        raise MalformedRecord("observation", f"the observation does not fit into {dtype} without loss")
    return cast


def _holds_text(value: Any) -> bool:
    """NumPy would read "1.5" as a number; a feed that sends text instead of numbers has changed its format."""
    if isinstance(value, list | tuple):
        return any(map(_holds_text, value))
    return isinstance(value, str | bytes)


def _number(reward: Any) -> float:
    if type(reward) is not float:
        if isinstance(reward, str | bytes | bytearray | complex | np.complexfloating) or np.ndim(reward) != 0:
            raise MalformedRecord("reward", f"the reward must be one number, not a {_kind(reward)}")
        try:
            reward = float(reward)
        except OverflowError:
            raise MalformedRecord("not_finite", "the reward is too large") from None
        except (TypeError, ValueError):
            raise MalformedRecord("reward", f"the reward must be one number, not a {_kind(reward)}") from None
    if not isfinite(reward):
        raise MalformedRecord("not_finite", f"the reward is {reward}")
    return float(reward)


def _claim(value: Any) -> bool:
    if isinstance(value, bool | np.bool_) or (isinstance(value, int | float | np.number) and value in (0, 1)):
        return bool(value)
    raise MalformedRecord("flag", f"terminated and truncated are True or False, not {_kind(value)}")


def _kind(value: Any) -> str:
    return type(value).__name__
