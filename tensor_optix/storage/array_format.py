"""Arrays as safetensors bytes, and a strict reader for such bytes from anywhere.

The layout: 8 bytes with the header's length (little endian), the header (JSON: name -> dtype, shape, byte range),
then the data. The reader believes nothing: sizes are computed from shapes and must match the byte ranges, which
must cover the data without hole or overlap, before a single array is made. Raises FormatError only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import save

from tensor_optix.storage.strict_json import FormatError, loads

MAX_DATA_BYTES = 8 << 30
MAX_HEADER_BYTES = 4 << 20
MAX_RANK = 32

_NAME = re.compile(r"[A-Za-z0-9_.\-/]{1,256}")
_DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("<u1"), "U16": np.dtype("<u2"), "U32": np.dtype("<u4"), "U64": np.dtype("<u8"),
    "I8": np.dtype("<i1"), "I16": np.dtype("<i2"), "I32": np.dtype("<i4"), "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8"),
}  # fmt: skip
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class _Entry:
    """One array as the header declares it; its bytes are ``data[begin:end]``."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as safetensors bytes. Names match ``[A-Za-z0-9_.-/]{1,256}``; dtypes are bool, ints and floats."""
    for name, array in arrays.items():
        _check_name(name)
        if _little_endian(array) not in _DTYPE_NAMES:
            raise FormatError(f"array {name!r} has dtype {array.dtype}, which cannot be stored")
    data = save({name: np.asarray(array, _little_endian(array), order="C") for name, array in arrays.items()})
    _header(data)  # what could not be read back is refused now
    return data


def describe_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """``{name: {"dtype", "shape"}}`` by name, for the manifest and for comparing with it."""
    return {
        name: {"dtype": _DTYPE_NAMES[_little_endian(array)], "shape": list(array.shape)}
        for name, array in sorted(arrays.items())
    }


def described_bytes(description: Mapping[str, Any]) -> int:
    """Bytes of the arrays that a manifest describes. Raises FormatError if nothing can be like that."""
    n_bytes = 0
    for name, fields in description.items():
        if not isinstance(fields, dict) or set(fields) != {"dtype", "shape"}:
            raise FormatError(f"describes array {name[:40]!r} by other things than dtype and shape")
        n_bytes += _n_bytes(name, fields["dtype"], fields["shape"])
    return n_bytes


def unpack_arrays(data: bytes) -> dict[str, np.ndarray]:
    """The arrays in safetensors bytes, each a writable copy of its own."""
    entries, start = _header(data)
    _check_cover(entries, len(data) - start)
    return {name: _array(name, entry, memoryview(data)[start:]) for name, entry in entries.items()}


def _header(data: bytes) -> tuple[dict[str, _Entry], int]:
    """The declared arrays, and where the data starts."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise FormatError("is cut short: the header is longer than the file")
    if length > MAX_HEADER_BYTES:
        raise FormatError(f"has a header of {length} bytes, more than the {MAX_HEADER_BYTES} allowed")
    header = loads(data[8 : 8 + length], MAX_HEADER_BYTES, max_depth=3)
    if not isinstance(header, dict):
        raise FormatError("has a header that is no object")
    return {name: _entry(name, fields) for name, fields in header.items()}, 8 + length


def _entry(name: str, fields: Any) -> _Entry:
    """The declaration of one array, if its shape, dtype and byte range agree with each other."""
    _check_name(name)
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"array {name!r} needs dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    n_bytes = _n_bytes(name, dtype, shape)
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError(f"array {name!r} has an impossible byte range")
    if n_bytes != offsets[1] - offsets[0]:
        raise FormatError(f"array {name!r} has a shape that does not match its byte range")
    return _Entry(_DTYPES[dtype], tuple(shape), offsets[0], offsets[1])


def _n_bytes(name: str, dtype: Any, shape: Any) -> int:
    """Bytes of an array as it is declared, if there can be such an array."""
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FormatError(f"array {name[:40]!r} has an unknown dtype {str(dtype)[:20]!r}")
    if not _are_counts(shape) or len(shape) > MAX_RANK or math.prod(filter(None, shape)) > MAX_DATA_BYTES:
        raise FormatError(f"array {name[:40]!r} has an impossible shape")
    n_values: int = math.prod(shape)
    return n_values * _DTYPES[dtype].itemsize


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_cover(entries: dict[str, _Entry], size: int) -> None:
    """Byte ranges must follow each other from the first byte to the last."""
    position = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != position:
            raise FormatError("has arrays that overlap or leave a hole")
        position = entry.end
    if position != size:
        raise FormatError(f"declares {position} bytes of arrays but holds {size}")


def _array(name: str, entry: _Entry, data: memoryview) -> np.ndarray:
    if entry.begin == entry.end:
        return np.zeros(entry.shape, entry.dtype)
    raw = np.frombuffer(data[entry.begin : entry.end], np.uint8)
    if entry.dtype == np.bool_ and raw.max() > 1:
        raise FormatError(f"array {name!r} is bool but holds bytes other than 0 and 1")
    return raw.view(entry.dtype).reshape(entry.shape).copy()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise FormatError(f"array name {name[:40]!r} must be 1 to 256 of the characters A-Z a-z 0-9 _ . - /")


def _little_endian(array: np.ndarray) -> np.dtype[Any]:
    return array.dtype.newbyteorder("<")
