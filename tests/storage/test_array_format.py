"""Arrays as bytes there and back, and hostile files."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save

from tensor_optix.storage.array_format import describe_arrays, pack_arrays, packed_bytes, unpack_arrays
from tensor_optix.storage.strict_json import FormatError

DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
ARRAYS = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=3))
NAMES = st.text("aZ09_.-/", min_size=1, max_size=6)


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    return b"".join(pack_arrays(arrays))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def there_and_back(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return unpack_arrays(describe_arrays(arrays), [packed(arrays)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3)])
def test_every_dtype_and_shape_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 2 if dtype == "?" else 256, size=(*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
    array = np.zeros(shape, dtype) if raw.size == 0 else raw.view(dtype).reshape(shape)
    back = there_and_back({"a/b.c-d_0": array})["a/b.c-d_0"]
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable
    assert back.flags.owndata or back.base is None


@given(st.dictionaries(NAMES, ARRAYS))
def test_the_file_is_byte_for_byte_what_safetensors_writes(arrays: dict[str, np.ndarray]) -> None:
    data = packed(arrays)
    assert data == save(arrays)
    assert len(data) == packed_bytes(describe_arrays(arrays))


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_the_pieces_in_which_a_file_is_read_do_not_matter(size: int) -> None:
    arrays = {"a": np.arange(9.0), "none": np.zeros((0, 3)), "b": np.array([True, False, True])}
    back = unpack_arrays(describe_arrays(arrays), pieces(packed(arrays), size))
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)


def test_an_array_that_is_as_the_file_wants_it_is_not_copied() -> None:
    array = np.zeros(1000)
    *_, piece = pack_arrays({"a": array})
    array[:] = 1.0
    assert bytes(piece) == array.tobytes()


def test_memory_order_and_byte_order_do_not_matter() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    back = there_and_back({"a": array, "b": array[::2]})
    np.testing.assert_array_equal(back["a"], array)
    np.testing.assert_array_equal(back["b"], array[::2])


def test_no_arrays_are_fine() -> None:
    assert there_and_back({}) == {}
    assert describe_arrays({}) == {}


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a" * 257, "é", "a\\b"])
def test_a_name_outside_the_alphabet_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match="characters"):
        packed({name: np.zeros(1)})


def test_a_header_that_could_not_be_read_back_is_refused_when_written() -> None:
    with pytest.raises(FormatError, match="header of"):
        packed({f"{number:0200d}": np.zeros(1) for number in range(20_000)})


@pytest.mark.parametrize("array", [np.zeros(1, complex), np.array([object()]), np.array(["a"]), np.zeros(1, "M8[s]")])
def test_a_dtype_without_a_place_in_the_format_is_refused(array: np.ndarray) -> None:
    with pytest.raises(FormatError, match="dtype"):
        packed({"a": array})


def described(dtype: Any = "F32", shape: Any = (1,)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape}


HOSTILE_DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "a list": {"a": [1]},
    "a field more": {"a": {**described(), "more": 1}},
    "unknown dtype": {"a": described("Q99")},
    "dtype is a list": {"a": described([])},
    "huge shape": {"a": described(shape=[2**32, 2**32])},
    "huge empty shape": {"a": described(shape=[2**40, 0])},
    "shape overflows to nothing": {"a": described(shape=[2**32] * 2 + [0])},
    "huge rank": {"a": described(shape=[1] * 10_000)},
    "rank 33": {"a": described(shape=[1] * 33)},
    "negative dimension": {"a": described(shape=[-1])},
    "bool dimension": {"a": described(shape=[True])},
    "float dimension": {"a": described(shape=[1.0])},
    "shape is a number": {"a": described(shape=1)},
    "foreign name": {"a b": described()},
}


@pytest.mark.parametrize("description", HOSTILE_DESCRIPTIONS.values(), ids=HOSTILE_DESCRIPTIONS.keys())
def test_arrays_that_cannot_be_are_refused_before_anything_is_read(description: dict[str, Any]) -> None:
    def unread() -> Iterator[bytes]:
        raise AssertionError("looked at the file")
        yield b""

    with pytest.raises(FormatError):
        packed_bytes(description)
    with pytest.raises(FormatError):
        unpack_arrays(description, unread())


def file_with(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "header of 2**63": (2**63).to_bytes(8, "little") + b"{}",
    "header beyond the file": (100).to_bytes(8, "little") + b"{}",
    "header is a list": file_with([]),
    "header is no JSON": file_with(b"\x80\x04cos\nsystem\n"),
    "a list for an entry": file_with({"a": [1]}),
    "metadata": file_with({"__metadata__": {"a": "b"}}),
    "unknown dtype": file_with({"a": entry("Q99")}, b"\0" * 4),
    "dtype is a list": file_with({"a": entry([])}, b"\0" * 4),  # type: ignore[arg-type]
    "huge shape": file_with({"a": entry(shape=[2**32, 2**32])}, b"\0" * 4),
    "huge empty shape": file_with({"a": entry(shape=[2**40, 0], offsets=[0, 0])}),
    "shape overflows to nothing": file_with({"a": entry(shape=[2**32] * 2 + [0], offsets=[0, 0])}),
    "huge rank": file_with({"a": entry(shape=[1] * 10_000)}, b"\0" * 4),
    "rank 33": file_with({"a": entry(shape=[1] * 33)}, b"\0" * 4),
    "negative dimension": file_with({"a": entry(shape=[-1])}, b"\0" * 4),
    "bool dimension": file_with({"a": entry(shape=[True])}, b"\0" * 4),
    "float dimension": file_with({"a": entry(shape=[1.0])}, b"\0" * 4),
    "negative offset": file_with({"a": entry(offsets=[-4, 0])}, b"\0" * 4),
    "begin after end": file_with({"a": entry(offsets=[4, 0])}, b"\0" * 4),
    "three offsets": file_with({"a": entry(offsets=[0, 4, 8])}, b"\0" * 4),
    "beyond the data": file_with({"a": entry(shape=[2], offsets=[0, 8])}, b"\0" * 4),
    "shape beyond its range": file_with({"a": entry(shape=[2])}, b"\0" * 4),
    "bytes to spare": file_with({"a": entry()}, b"\0" * 5),
    "overlap": file_with({"a": entry(), "b": entry()}, b"\0" * 4),
    "hole": file_with({"a": entry(), "b": entry(offsets=[8, 12])}, b"\0" * 12),
    "equal names": file_with(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2), b"\0" * 4),
    "foreign name": file_with({"a b": entry()}, b"\0" * 4),
    "many arrays": file_with({f"{i:060d}": entry() for i in range(80_000)}, b"\0" * 4),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_with_another_header_than_the_arrays_need_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        unpack_arrays({"a": described()}, [data])


def test_one_changed_byte_of_the_header_is_refused() -> None:
    arrays = {"a": np.zeros(1, np.float32)}
    data = packed(arrays)
    for position in range(len(data) - 4):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(FormatError, match="another header"):
            unpack_arrays(describe_arrays(arrays), [changed])


@pytest.mark.parametrize("size", [0, 7, 63, -1])
def test_a_file_that_ends_too_early_or_too_late_is_refused(size: int) -> None:
    arrays = {"a": np.zeros(1, np.float32)}
    data = packed(arrays)
    for wrong in (data[:size], data + b"\0"):
        with pytest.raises(FormatError, match=r"cut short|more bytes"):
            unpack_arrays(describe_arrays(arrays), pieces(wrong, 5))


def test_a_bool_that_is_neither_is_refused() -> None:
    arrays = {"a": np.array([True])}
    with pytest.raises(FormatError, match="other than 0 and 1"):
        unpack_arrays(describe_arrays(arrays), [packed(arrays)[:-1] + b"\2"])
