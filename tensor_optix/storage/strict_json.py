"""JSON that survives a round trip bit for bit, and a reader that takes nothing on trust.

The standard reader accepts NaN, turns 1e999 into infinity, keeps the last of two equal keys and can be sent into
deep recursion. This one refuses each of them with a FormatError; the caller, who knows the path, adds it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

FLOAT_MARK = "__float__"  # {"__float__": "nan"}: JSON has no way to write the three floats that are no number
MAX_DEPTH = 32
MAX_VALUES = 250_000  # 4 MiB of "{}," would fill 100 MB of memory
MAX_DIGITS = 100  # the state of NumPy's PCG64 generator holds integers of 39 digits

_SPECIAL_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class FormatError(ValueError):
    """Bytes or values that do not follow their format."""


def dumps(value: Any) -> bytes:
    """``value`` as JSON in UTF-8 on one line. NumPy scalars become Python's, tuples lists, NaN a tagged object.

    Raises FormatError that names the place of whatever ``loads`` could not give back.
    """
    plain = _plain(value, "value", 0)
    try:
        data = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"a text cannot be written as UTF-8: {error.reason}") from error
    _check_number_of_values(data)
    return data


def loads(data: bytes, max_bytes: int, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value of ``data``. Raises FormatError for anything oversized, ambiguous, too deep or not JSON."""
    if len(data) > max_bytes:
        raise FormatError(f"has {len(data)} bytes, more than the {max_bytes} allowed")
    _check_number_of_values(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_short_int,
            object_pairs_hook=_unique_keys,
        )
    except RecursionError as error:
        raise FormatError(f"is nested deeper than {max_depth} levels") from error
    except MemoryError as error:
        raise FormatError("does not fit into memory") from error
    except FormatError:
        raise
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise FormatError(f"is not JSON in UTF-8: {error}") from error
    _check_tree(value, max_depth)
    return value


def _plain(value: Any, where: str, depth: int) -> Any:
    """``value`` in the types that JSON has; ``where`` is its place, for messages."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return _writable_int(value, where)
    if isinstance(value, float):
        return value if math.isfinite(value) else {FLOAT_MARK: str(value)}
    if depth >= MAX_DEPTH:
        raise FormatError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return _plain_object(value, where, depth)
    raise FormatError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def _plain_object(value: dict[Any, Any], where: str, depth: int) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str) or key == FLOAT_MARK:
            raise FormatError(f"{where} has the key {key!r}; keys must be text other than {FLOAT_MARK!r}")
    return {key: _plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}


def _writable_int(value: int, where: str) -> int:
    if abs(value) >= 10**MAX_DIGITS:
        raise FormatError(f"{where} is an integer of more than {MAX_DIGITS} digits")
    return int(value)


def _refuse_constant(text: str) -> Any:
    raise FormatError(f"contains the bare constant {text}")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise FormatError(f"contains a number outside the range of a float: {text[:20]}")
    return value


def _short_int(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:
        raise FormatError(f"contains an integer of {len(text)} digits")
    return int(text)


def _unique_keys(pairs: list[tuple[str, Any]]) -> Any:
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


def _check_tree(value: Any, max_depth: int) -> None:
    """Depth and texts, level by level (recursion is what a bomb wants)."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for node in level:
            if isinstance(node, str):
                _check_text(node)
            elif isinstance(node, dict | list):
                if depth >= max_depth:
                    raise FormatError(f"is nested deeper than {max_depth} levels")
                below.extend(node)
                below.extend(node.values() if isinstance(node, dict) else ())
        level, depth = below, depth + 1


def _check_text(text: str) -> None:
    """Refuse half of a surrogate pair: it would fail much later, when somebody prints or stores it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FormatError("contains half of a surrogate pair") from error
