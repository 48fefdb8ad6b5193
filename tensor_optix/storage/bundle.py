"""Arrays and JSON in one file: a safetensors file whose metadata holds the JSON.

Any safetensors reader gets the arrays, ``__metadata__["state"]`` is the JSON text. Ours takes no word of the header
on trust: what it says is parsed strictly, and the header that belongs to it is made anew and compared byte for byte.
``__metadata__["sha256"]`` is the hash of the JSON and of the file as it would be without metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.storage.array_format import (
    MAX_HEADER_BYTES,
    describe_arrays,
    header,
    pack_arrays,
    packed_bytes,
    unpack_arrays,
)
from tensor_optix.storage.file_system import FileSystem
from tensor_optix.storage.strict_json import FormatError, dumps, has_fields, loads, naming

MAX_BUNDLE_BYTES = 1 << 30


def save_bundle(fs: FileSystem, path: Path, *, state: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the file; it takes the place of one that is there, whole or not at all."""
    path = Path(path).absolute()
    with naming(path):
        text, description = dumps(state, MAX_HEADER_BYTES // 4).decode(), describe_arrays(arrays)
        plain, *data = pack_arrays(arrays)
        whole = _header(description, text, _digest(text, [plain, *data])) + b"".join(data)
    fs.ensure_directory(path.parent)
    fs.replace(path, whole)


def read_bundle(fs: FileSystem, path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """``(state, arrays)``. Raises CheckpointError for anything that ``save_bundle`` would not have written."""
    path = Path(path).absolute()
    whole = memoryview(fs.read(path, MAX_BUNDLE_BYTES))
    with naming(path):
        size = 8 + int.from_bytes(whole[:8], "little")
        if len(whole) < 8 or size > min(len(whole), 8 + MAX_HEADER_BYTES):
            raise FormatError("is no safetensors file")
        description, text, digest = _parsed(bytes(whole[8:size]))
        data = bytes(whole[size:])
        plain = header(description)
        n_bytes = packed_bytes(description) - len(plain)
        if _header(description, text, digest) != bytes(whole[:size]) or n_bytes != len(data):
            raise FormatError("has a header that does not fit its content")
        if _digest(text, [plain, data]) != digest:
            raise FormatError("is damaged: its content does not match its SHA-256")
        return loads(text.encode(), MAX_HEADER_BYTES), unpack_arrays(description, [plain, data])


def _parsed(text: bytes) -> tuple[dict[str, Any], str, str]:
    """What a header says: the arrays' description, the JSON and the digest."""
    entries = loads(text.rstrip(b" "), MAX_HEADER_BYTES)
    metadata: Any = entries.pop("__metadata__", None) if isinstance(entries, dict) else None
    if not has_fields(metadata, {"state": str, "sha256": str}):
        raise FormatError("holds no state and sha256 in its metadata")
    if not all(isinstance(entry, dict) for entry in entries.values()):
        raise FormatError("has a header that describes no arrays")
    description = {name: {key: entry.get(key) for key in ("dtype", "shape")} for name, entry in entries.items()}
    return description, metadata["state"], metadata["sha256"]


def _header(description: Mapping[str, Any], state: str, sha256: str) -> bytes:
    """The header of ``description`` with the metadata in front of its entries, as safetensors writes it."""
    entries = json.dumps({"__metadata__": {"state": state, "sha256": sha256}}, separators=(",", ":")).encode()[:-1]
    rest = header(description)[8:].rstrip(b" ")[1:]
    text = entries + (b"," if description else b"") + rest
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _digest(state: str, pieces: Sequence[bytes | memoryview]) -> str:
    sha256 = hashlib.sha256(state.encode())
    for piece in pieces:
        sha256.update(piece)
    return sha256.hexdigest()
