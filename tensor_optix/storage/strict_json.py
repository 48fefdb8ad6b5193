"""JSON that survives a round trip bit for bit, and a reader that takes nothing on trust.

The standard reader accepts NaN, turns 1e999 into infinity, keeps the last of two equal keys and can be sent into
deep recursion. This one refuses each of them, and whatever else ``dumps`` would not have written, with a FormatError;
the caller, who knows the path, adds it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.errors import CheckpointError

FLOAT_MARK = "__float__"  # {"__float__": "nan"}: JSON has no way to write the three floats that are no number
MAX_DEPTH = 32
MAX_VALUES = 250_000  # 4 MiB of "{}," would fill 100 MB of memory
MAX_DIGITS = 100  # the state of NumPy's PCG64 generator holds integers of 39 digits

_MAX_INT = 10**MAX_DIGITS
_SPECIAL_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class FormatError(Exception):
    """Bytes or values that do not follow their format."""


@contextmanager
def naming(path: Path, about: str = "") -> Iterator[None]:
    """Makes a CheckpointError for ``path`` of whatever a format complains about."""
    try:
        yield
    except FormatError as error:
        raise CheckpointError(path, f"{about}{error}") from error
    except MemoryError as error:
        raise CheckpointError(path, f"{about}does not fit into memory") from error


def has_fields(value: Any, kinds: dict[str, type]) -> bool:
    """True for an object with just these fields, each of just this type (a bool is no int)."""
    return isinstance(value, dict) and {name: type(field) for name, field in value.items()} == kinds


def dumps(value: Any, max_bytes: int | None = None) -> bytes:
    """``value`` as JSON in UTF-8 on one line. NumPy scalars become Python's, tuples lists, NaN a tagged object.

    Raises FormatError that names the place of whatever ``loads`` could not give back.
    """
    plain = _plain(value, "value", 0)
    try:
        data = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:  # half a surrogate pair: it would fail much later, when somebody prints it
        raise FormatError(f"a text cannot be written as UTF-8: {error.reason}") from error
    if max_bytes is not None and len(data) > max_bytes:
        raise FormatError(f"would have {len(data)} bytes, more than the {max_bytes} that are read back")
    _check_number_of_values(data)
    return data


def loads(data: bytes, max_bytes: int) -> Any:
    """The value of ``data``. Raises FormatError for anything oversized, ambiguous, too deep or not JSON."""
    if len(data) > max_bytes:
        raise FormatError(f"has {len(data)} bytes, more than the {max_bytes} allowed")
    _check_number_of_values(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            object_pairs_hook=_object,
        )
        dumps(value)
    except RecursionError as error:
        raise FormatError(f"is nested deeper than {MAX_DEPTH} levels") from error
    except MemoryError as error:
        raise FormatError("does not fit into memory") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, an integer of thousands of digits
        raise FormatError(f"is not JSON in UTF-8: {error}") from error
    return value


def _plain(value: Any, where: str, depth: int) -> Any:
    """``value`` in the types that JSON has; ``where`` is its place, for messages."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if abs(value) >= _MAX_INT:
            raise FormatError(f"{where} is an integer of more than {MAX_DIGITS} digits")
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {FLOAT_MARK: str(value)}
    if depth >= MAX_DEPTH:
        raise FormatError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        raise FormatError(f"{where} is a {type(value).__name__}, which JSON cannot hold")
    for key in value:
        if not isinstance(key, str) or key == FLOAT_MARK:
            raise FormatError(f"{where} has the key {key!r}; keys must be text other than {FLOAT_MARK!r}")
    return {key: _plain(item, f"{where}.{key[:40]}", depth + 1) for key, item in value.items()}


def _refuse_constant(text: str) -> Any:
    raise FormatError(f"contains the bare constant {text}")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise FormatError(f"contains a number outside the range of a float: {text[:20]}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """An object with unique keys, or the float that a tagged one stands for."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise FormatError("has the same key twice in one object")
    if FLOAT_MARK not in value:
        return value
    name = value[FLOAT_MARK]
    if len(value) != 1 or not isinstance(name, str) or name not in _SPECIAL_FLOATS:
        raise FormatError(f"has a {FLOAT_MARK} object that is none of nan, inf, -inf")
    return _SPECIAL_FLOATS[name]


def _check_number_of_values(data: bytes) -> None:
    """Every value but the first of its container follows a comma, so there are at most this many."""
    n_values = 1 + sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if n_values > MAX_VALUES:
        raise FormatError(f"may hold {n_values} values, more than the {MAX_VALUES} allowed; put numbers into arrays")
