"""Arrays as a safetensors file, written array by array, and read back only if every byte is where it must be.

The layout: 8 bytes with the header's length (little endian), the header (JSON: name -> dtype, shape, byte range),
then the data, ordered by dtype and name. Names, dtypes and shapes therefore determine the header. The reader is told
them beforehand, and compares instead of parsing: nothing that a file says is believed. Raises FormatError only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tensor_optix.storage.strict_json import FormatError

MAX_DATA_BYTES = 8 << 30
MAX_HEADER_BYTES = 4 << 20
MAX_RANK = 32

_NAME = re.compile(r"[A-Za-z0-9_.\-/]{1,256}")
_DTYPES: dict[str, np.dtype[Any]] = {  # in the order in which safetensors sorts the data
    "U64": np.dtype("<u8"), "I64": np.dtype("<i8"), "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"), "U32": np.dtype("<u4"), "I32": np.dtype("<i4"),
    "F16": np.dtype("<f2"), "U16": np.dtype("<u2"), "I16": np.dtype("<i2"),
    "I8": np.dtype("<i1"), "U8": np.dtype("<u1"), "BOOL": np.dtype("?"),
}  # fmt: skip
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

Description = Mapping[str, Any]  # {name: {"dtype", "shape"}}


def describe_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """``{name: {"dtype", "shape"}}`` by name. Raises FormatError for a dtype that has no place in the format."""
    description = {}
    for name, array in sorted(arrays.items()):
        dtype = _DTYPE_NAMES.get(array.dtype.newbyteorder("<"))
        if dtype is None:
            raise FormatError(f"array {name!r} has dtype {array.dtype}, which cannot be stored")
        description[name] = {"dtype": dtype, "shape": list(array.shape)}
    return description


def packed_bytes(description: Description) -> int:
    """Size of the file. Raises FormatError if there can be no such arrays."""
    return len(header(description)) + sum(_n_bytes(name, fields) for name, fields in description.items())


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes | memoryview]:
    """The file in pieces: its header, then array by array, without a copy where an array is as the file wants it."""
    description = describe_arrays(arrays)
    yield header(description)
    for name in _order(description):
        yield _raw(np.asarray(arrays[name], _DTYPES[description[name]["dtype"]], order="C"))


def unpack_arrays(description: Description, pieces: Iterable[bytes]) -> dict[str, np.ndarray]:
    """The arrays of that description from all pieces of a file; the pieces are not looked at before the last one."""
    wanted = header(description)
    found = bytearray(len(wanted))
    arrays = {name: np.empty(fields["shape"], _DTYPES[fields["dtype"]]) for name, fields in description.items()}
    _fill([memoryview(found), *(_raw(arrays[name]) for name in _order(description))], iter(pieces))
    if found != wanted:
        raise FormatError("has another header than these arrays need")
    for name, array in arrays.items():
        if array.dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
            raise FormatError(f"array {name!r} is bool but holds bytes other than 0 and 1")
    return arrays


def header(description: Description) -> bytes:
    """What stands before the data, byte for byte as safetensors writes it."""
    entries, end = {}, 0
    for name in _order(description):
        begin, end = end, end + _n_bytes(name, description[name])
        dtype, shape = description[name]["dtype"], description[name]["shape"]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # aligns the data
    if len(text) > MAX_HEADER_BYTES:
        raise FormatError(f"needs a header of {len(text)} bytes, more than the {MAX_HEADER_BYTES} allowed")
    return len(text).to_bytes(8, "little") + text


def _order(description: Description) -> list[str]:
    """Names in the order of their data."""
    for name, fields in description.items():
        _n_bytes(name, fields)
    ranks = {dtype: rank for rank, dtype in enumerate(_DTYPES)}
    return sorted(description, key=lambda name: (ranks[description[name]["dtype"]], name))


def _n_bytes(name: str, fields: Any) -> int:
    """Bytes of an array as it is described, if there can be such an array."""
    if not _NAME.fullmatch(name):
        raise FormatError(f"array name {name[:40]!r} must be 1 to 256 of the characters A-Z a-z 0-9 _ . - /")
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape"}:
        raise FormatError(f"array {name[:40]!r} is described by other things than dtype and shape")
    dtype, shape = fields["dtype"], fields["shape"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FormatError(f"array {name[:40]!r} has an unknown dtype {str(dtype)[:20]!r}")
    is_shape = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not is_shape or len(shape) > MAX_RANK or math.prod(filter(None, shape)) > MAX_DATA_BYTES:
        raise FormatError(f"array {name[:40]!r} has an impossible shape")
    return int(math.prod(shape)) * _DTYPES[dtype].itemsize


def _raw(array: np.ndarray) -> memoryview:
    """The array's own bytes."""
    return array.reshape(-1).view(np.uint8).data


def _fill(buffers: list[memoryview], pieces: Iterator[bytes]) -> None:
    """Copy the pieces into the buffers, one after another; both must end together."""
    piece = memoryview(b"")
    for buffer in buffers:
        start = 0
        while start < len(buffer):
            if not piece and not (piece := _next(pieces)):
                raise FormatError("is cut short")
            n_bytes = min(len(buffer) - start, len(piece))
            buffer[start : start + n_bytes] = piece[:n_bytes]
            start, piece = start + n_bytes, piece[n_bytes:]
    if piece or _next(pieces):
        raise FormatError("holds more bytes than its arrays")


def _next(pieces: Iterator[bytes]) -> memoryview:
    return memoryview(next(pieces, b""))
