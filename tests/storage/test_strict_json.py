"""JSON there and back, and bombs."""

import json
import math
from typing import Any

import numpy as np
import pytest

from tensor_optix.storage.strict_json import FormatError, dumps, loads

LIMIT = 1 << 20


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -3, 1.0, 0.1, 5e-324, 2**127, "", "γ\n𝄞", [], {}, {"a": [1, {"b": None}]}, math.inf, -math.inf],
)
def test_a_value_comes_back_with_its_type(value: Any) -> None:
    back = loads(dumps(value), LIMIT)
    assert back == value
    assert type(back) is type(value)


def test_nan_comes_back_as_nan() -> None:
    assert math.isnan(loads(dumps({"a": math.nan}), LIMIT)["a"])


def test_numpy_scalars_become_python_values() -> None:
    back = loads(dumps([np.float32(0.1), np.int64(3), np.bool_(True), np.str_("a"), np.float64("inf")]), LIMIT)
    assert back == [float(np.float32(0.1)), 3, True, "a", math.inf]
    assert [type(item) for item in back] == [float, int, bool, str, float]


@pytest.mark.parametrize(
    "value",
    [[0] * 300_000, {1: 2}, {"__float__": "nan"}, {"a": {1, 2}}, np.zeros(2), 10**200, "\ud800", {"a": lambda: 0}],
)
def test_what_could_not_come_back_is_refused_when_written(value: Any) -> None:
    with pytest.raises(FormatError):
        dumps(value)


def test_depth_is_refused_when_written_as_when_read() -> None:
    value: Any = []
    for _ in range(31):
        value = [value]
    assert loads(dumps(value), LIMIT) == value
    with pytest.raises(FormatError, match="deeper than 32"):
        dumps([value])
    with pytest.raises(FormatError, match="deeper than 32"):
        loads(b"[" + dumps(value) + b"]", LIMIT)


BOMBS = {
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "a long integer": b"1" * 5_000,
    "a long negative integer": b"-" + b"1" * 102,
    "overflow": b"1e999",
    "NaN": b"[NaN]",
    "Infinity": b"-Infinity",
    "equal keys": b'{"a": 1, "a": 2}',
    "half a pair": b'"\\ud800"',
    "half a pair in a key": b'{"\\udc00": 1}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "no UTF-8": b'"\xff"',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "oversize": b'"' + b"a" * LIMIT + b'"',
    "a false float": b'{"__float__": "1e999"}',
    "a crowded float": b'{"__float__": "nan", "a": 1}',
    "a float list": b'{"__float__": ["nan"]}',
    "nothing": b"",
    "two values": b"{} {}",
    "a zero byte": b"{}\x00",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_ends_in_one_error(data: bytes) -> None:
    with pytest.raises(FormatError):
        loads(data, LIMIT)


def test_a_surrogate_pair_is_text() -> None:
    assert loads(b'"\\ud834\\udd1e"', LIMIT) == "𝄞"


def test_a_value_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(json, "loads", too_much)
    with pytest.raises(FormatError, match="memory"):
        loads(b"{}", LIMIT)
