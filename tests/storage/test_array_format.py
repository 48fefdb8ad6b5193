"""Arrays as bytes there and back, and hostile headers."""

import json
from typing import Any

import numpy as np
import pytest

from tensor_optix.storage.array_format import describe_arrays, pack_arrays, unpack_arrays
from tensor_optix.storage.strict_json import FormatError

DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3)])
def test_every_dtype_and_shape_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 2 if dtype == "?" else 256, size=(*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
    array = np.zeros(shape, dtype) if raw.size == 0 else raw.view(dtype).reshape(shape)
    back = unpack_arrays(pack_arrays({"a/b.c-d_0": array}))["a/b.c-d_0"]
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable
    assert back.flags.owndata or back.base is None


def test_memory_order_and_byte_order_do_not_matter() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    back = unpack_arrays(pack_arrays({"a": array, "b": array[::2]}))
    np.testing.assert_array_equal(back["a"], array)
    np.testing.assert_array_equal(back["b"], array[::2])


def test_no_arrays_are_fine() -> None:
    assert unpack_arrays(pack_arrays({})) == {}
    assert describe_arrays({}) == {}


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a" * 257, "é", "a\\b"])
def test_a_name_outside_the_alphabet_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="characters"):
        pack_arrays({name: np.zeros(1)})


def test_a_header_that_could_not_be_read_back_is_refused_when_written() -> None:
    with pytest.raises(FormatError, match="header of"):
        pack_arrays({f"{number:0200d}": np.zeros(1) for number in range(20_000)})


@pytest.mark.parametrize("array", [np.zeros(1, complex), np.array([object()]), np.array(["a"]), np.zeros(1, "M8[s]")])
def test_a_dtype_without_a_place_in_the_format_is_refused(array: np.ndarray) -> None:
    with pytest.raises(FormatError, match="dtype"):
        pack_arrays({"a": array})


def packed(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "header of 2**63": (2**63).to_bytes(8, "little") + b"{}",
    "header beyond the file": (100).to_bytes(8, "little") + b"{}",
    "header is a list": packed([]),
    "header is no JSON": packed(b"\x80\x04cos\nsystem\n"),
    "a list for an entry": packed({"a": [1]}),
    "metadata": packed({"__metadata__": {"a": "b"}}),
    "unknown dtype": packed({"a": entry("Q99")}, b"\0" * 4),
    "dtype is a list": packed({"a": entry([])}, b"\0" * 4),  # type: ignore[arg-type]
    "huge shape": packed({"a": entry(shape=[2**32, 2**32])}, b"\0" * 4),
    "huge empty shape": packed({"a": entry(shape=[2**40, 0], offsets=[0, 0])}),
    "shape overflows to nothing": packed({"a": entry(shape=[2**32] * 2 + [0], offsets=[0, 0])}),
    "huge rank": packed({"a": entry(shape=[1] * 10_000)}, b"\0" * 4),
    "rank 33": packed({"a": entry(shape=[1] * 33)}, b"\0" * 4),
    "negative dimension": packed({"a": entry(shape=[-1])}, b"\0" * 4),
    "bool dimension": packed({"a": entry(shape=[True])}, b"\0" * 4),
    "float dimension": packed({"a": entry(shape=[1.0])}, b"\0" * 4),
    "negative offset": packed({"a": entry(offsets=[-4, 0])}, b"\0" * 4),
    "begin after end": packed({"a": entry(offsets=[4, 0])}, b"\0" * 4),
    "three offsets": packed({"a": entry(offsets=[0, 4, 8])}, b"\0" * 4),
    "beyond the data": packed({"a": entry(shape=[2], offsets=[0, 8])}, b"\0" * 4),
    "shape beyond its range": packed({"a": entry(shape=[2])}, b"\0" * 4),
    "bytes to spare": packed({"a": entry()}, b"\0" * 5),
    "overlap": packed({"a": entry(), "b": entry()}, b"\0" * 4),
    "hole": packed({"a": entry(), "b": entry(offsets=[8, 12])}, b"\0" * 12),
    "equal names": packed(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2), b"\0" * 4),
    "foreign name": packed({"a b": entry()}, b"\0" * 4),
    "bool of 2": packed({"a": entry("BOOL", [1], [0, 1])}, b"\2"),
    "many arrays": packed({f"{i:060d}": entry() for i in range(80_000)}, b"\0" * 4),
}


def test_a_long_header_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(FormatError, match="header of"):
        unpack_arrays(packed(b"{}" + b" " * (9 << 20)))


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_header_ends_in_one_error(data: bytes) -> None:
    with pytest.raises(FormatError):
        unpack_arrays(data)
