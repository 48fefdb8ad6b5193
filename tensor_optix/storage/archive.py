"""One format for everything that holds weights: a directory that proves its own content.

    arrays.safetensors   every array
    state.json           everything that is no array
    weights...           only if an agent writes its weights itself: a file or a directory of its own
    MANIFEST.json        sizes and SHA-256 of all files above, the arrays' shapes and dtypes, the caller's meta, and
                         the SHA-256 of all that

The manifest is written last, so a directory without one was never finished. A reader checks sizes, then hashes,
and only then looks inside. Neither ever holds the arrays a second time.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.errors import CheckpointError
from tensor_optix.storage.array_format import (
    MAX_DATA_BYTES,
    MAX_HEADER_BYTES,
    describe_arrays,
    pack_arrays,
    packed_bytes,
    unpack_arrays,
)
from tensor_optix.storage.file_system import FileSystem
from tensor_optix.storage.strict_json import FormatError, dumps, has_fields, loads, naming

FORMAT_VERSION = 1
ARRAYS, STATE, MANIFEST, WEIGHTS = "arrays.safetensors", "state.json", "MANIFEST.json", "weights"
MAX_JSON_BYTES = 4 << 20
MAX_FILE_BYTES = 8 + MAX_HEADER_BYTES + MAX_DATA_BYTES
MAX_DEPTH = 32  # of directories below ``weights``

WriteExtra = Callable[[Path], None]
"""Told where an agent may write its own weights: at this path (a file or a directory), or with a suffix added."""


@dataclass(frozen=True)
class Archive:
    """What an archive holds, verified."""

    state: Any
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]
    directory: Path


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself; ``files`` maps relative names to (size, SHA-256)."""

    files: dict[str, tuple[int, str]]
    arrays: dict[str, Any]
    meta: dict[str, Any]


def save_archive(
    fs: FileSystem,
    path: Path,
    *,
    state: Any,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    write_extra: WriteExtra | None = None,
) -> None:
    """Save an archive at ``path``; it takes the place of an archive that is there, and of nothing else.

    Killed at any instant, ``read_archive(path)`` gives all of the old or all of the new one.
    """
    path = Path(path).absolute()
    _check_replaceable(fs, path)
    fs.ensure_directory(path.parent)
    unfinished = path.with_name(f".{path.name}.unfinished")
    if fs.kind(unfinished) != "absent":
        fs.remove_tree(unfinished)
    with fs.building(unfinished):
        write_archive(fs, unfinished, state=state, arrays=arrays, meta=meta, write_extra=write_extra)
        _put_in_place(fs, unfinished, path)


def write_archive(
    fs: FileSystem,
    directory: Path,
    *,
    state: Any,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    write_extra: WriteExtra | None = None,
) -> None:
    """Fill an existing empty directory, manifest last; everything is on the disk itself when this returns."""
    if fs.names(directory):
        raise CheckpointError(directory, "is not empty, so no archive can be written into it")
    with naming(directory / ARRAYS):
        description = describe_arrays(arrays)
        size = packed_bytes(description)
    state_text = _json(directory / STATE, state)
    _check_space(fs, directory, size + len(state_text))
    records = [
        _written(fs, directory / ARRAYS, size, pack_arrays(arrays)),
        _written(fs, directory / STATE, len(state_text), [state_text]),
    ]
    if write_extra is not None:
        write_extra(directory / WEIGHTS)
        records += _seal_weights(fs, directory)
    manifest = {"format_version": FORMAT_VERSION, "files": records, "arrays": description, "meta": dict(meta)}
    manifest["sha256"] = _digest(directory / MANIFEST, manifest)
    fs.write_new(directory / MANIFEST, _json(directory / MANIFEST, manifest))
    fs.sync_directory(directory)


def read_archive(fs: FileSystem, directory: Path) -> Archive:
    """The content of an archive; nothing is looked into before its size and its hash have been found right."""
    directory = _current(fs, Path(directory).absolute())
    manifest = read_manifest(fs, directory)
    _check_files(fs, directory, manifest.files)
    pieces = {name: _verified(fs, directory / name, *entry) for name, entry in manifest.files.items()}
    for name in sorted(pieces.keys() - {ARRAYS, STATE}):
        deque(pieces[name], maxlen=0)
    with naming(directory / ARRAYS):
        arrays = unpack_arrays(manifest.arrays, pieces[ARRAYS])
    with naming(directory / STATE):
        state = loads(b"".join(pieces[STATE]), MAX_JSON_BYTES)
    return Archive(state, arrays, manifest.meta, directory)


def read_manifest(fs: FileSystem, directory: Path) -> Manifest:
    """The manifest alone, for listing; it says nothing about whether the other files are sound."""
    path = directory / MANIFEST
    if fs.kind(directory) != "directory":
        raise CheckpointError(directory, "is not an archive: it is no directory")
    if fs.kind(path) == "absent":
        raise CheckpointError(directory, f"is not an archive: it has no {MANIFEST}")
    with naming(path):
        fields = loads(fs.read(path, MAX_JSON_BYTES), MAX_JSON_BYTES)
        manifest = _checked_manifest(fields)
    if fields.pop("sha256") != _digest(path, fields):
        raise CheckpointError(path, "is damaged: its content does not match its SHA-256")
    return manifest


# -- writing ---------------------------------------------------------------------------------------------------


def _check_replaceable(fs: FileSystem, path: Path) -> None:
    if fs.kind(path) == "absent" or (fs.kind(path) == "directory" and not fs.names(path)):
        return
    try:
        read_manifest(fs, path)
    except CheckpointError as error:
        reason = f"exists and is no archive of ours, so it is not replaced ({error.reason})"
        raise CheckpointError(path, reason) from error


def _put_in_place(fs: FileSystem, unfinished: Path, path: Path) -> None:
    """Move the new archive to ``path``. The old one steps aside first and is found there by ``_current``."""
    previous = _previous(path)
    if fs.kind(path) != "absent":
        if fs.kind(previous) != "absent":
            fs.remove_tree(previous)
        fs.rename(path, previous)
    fs.sync_directory(path.parent)
    fs.rename(unfinished, path)
    fs.sync_directory(path.parent)
    if fs.kind(previous) != "absent":
        fs.remove_tree(previous)


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _current(fs: FileSystem, path: Path) -> Path:
    """``path``, or the archive that stepped aside for one that never arrived there."""
    previous = _previous(path)
    return previous if fs.kind(path) == "absent" and fs.kind(previous) == "directory" else path


def _check_space(fs: FileSystem, directory: Path, size: int) -> None:
    """Refuse before anything is written; a fifth more than the size leaves room for names and blocks."""
    needed, free = size + size // 5, fs.free_bytes(directory)
    if needed > free:
        raise CheckpointError(directory, f"needs {needed} bytes of space, {free} are free; free some space")


def _written(fs: FileSystem, path: Path, size: int, pieces: Iterable[bytes | memoryview]) -> dict[str, Any]:
    """Write a file piece by piece; its record for the manifest."""
    sha256 = hashlib.sha256()
    fs.write_new(path, _hashed(sha256, pieces))
    return {"name": path.name, "size": size, "sha256": sha256.hexdigest()}


def _seal_weights(fs: FileSystem, directory: Path) -> list[dict[str, Any]]:
    """Check, sync and hash what an agent wrote itself."""
    records: list[dict[str, Any]] = []
    for name in _files(fs, directory):
        if name.startswith(WEIGHTS):
            fs.sync_file(directory / name)
            sha256 = hashlib.sha256()
            size = sum(map(len, _hashed(sha256, fs.chunks(directory / name, MAX_FILE_BYTES))))
            records.append({"name": name, "size": size, "sha256": sha256.hexdigest()})
        elif name not in (ARRAYS, STATE):
            raise CheckpointError(directory / name, f"was written beside the path {WEIGHTS!r} given to save_weights")
    if not records:
        raise CheckpointError(directory / WEIGHTS, "save_weights wrote nothing at the path it was given")
    for folder in sorted({parent for record in records for parent in Path(record["name"]).parents}):
        fs.sync_directory(directory / folder)
    return records


def _files(fs: FileSystem, directory: Path, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Relative names of all plain files below ``directory``; links, pipes and the like are refused."""
    if depth > MAX_DEPTH:
        raise CheckpointError(directory, f"is nested deeper than {MAX_DEPTH} directories")
    for name in fs.names(directory):
        kind = fs.kind(directory / name)
        if kind == "directory":
            yield from _files(fs, directory / name, f"{prefix}{name}/", depth + 1)
        elif kind == "file":
            yield prefix + name
        else:
            raise CheckpointError(directory, f"holds {name[:100]!r}, which is neither a plain file nor a directory")


# -- reading ---------------------------------------------------------------------------------------------------


def _check_files(fs: FileSystem, directory: Path, files: dict[str, tuple[int, str]]) -> None:
    """Names and sizes. Only names found in the directory are opened; one that only the manifest has leads nowhere."""
    found = set(_files(fs, directory)) - {MANIFEST}
    if odd := sorted(found ^ set(files)):
        problem = "is not listed in the manifest" if odd[0] in found else "is listed in the manifest but missing"
        raise CheckpointError(directory, f"{odd[0][:100]!r} {problem}")
    for name, (size, _) in files.items():
        if fs.size(directory / name) != size:
            raise CheckpointError(directory / name, f"has {fs.size(directory / name)} bytes instead of {size}")


def _verified(fs: FileSystem, path: Path, size: int, digest: str) -> Iterator[bytes]:
    """A file piece by piece; after the last one an error, if it was not what the manifest says."""
    sha256 = hashlib.sha256()
    yield from _hashed(sha256, fs.chunks(path, size))
    if sha256.hexdigest() != digest:
        raise CheckpointError(path, "is damaged: its content does not match its SHA-256")


def _checked_manifest(fields: Any) -> Manifest:
    """The manifest's fields in their types. Raises FormatError."""
    if not isinstance(fields, dict):
        raise FormatError("is no JSON object")
    if (version := fields.get("format_version")) != FORMAT_VERSION:
        raise FormatError(f"has format_version {str(version)[:20]}, this release reads {FORMAT_VERSION}")
    if not has_fields(fields, {"format_version": int, "files": list, "arrays": dict, "meta": dict, "sha256": str}):
        raise FormatError("needs format_version, files, arrays, meta and sha256 in their types, and nothing else")
    kinds = {"name": str, "size": int, "sha256": str}
    if not all(has_fields(record, kinds) and 0 <= record["size"] <= MAX_FILE_BYTES for record in fields["files"]):
        raise FormatError("has a file entry that is not name, size and sha256, or an impossible size")
    files = {record["name"]: (record["size"], record["sha256"]) for record in fields["files"]}
    if len(files) != len(fields["files"]) or not {ARRAYS, STATE} <= set(files):
        raise FormatError(f"must list every file once, {ARRAYS} and {STATE} among them")
    if files[ARRAYS][0] != packed_bytes(fields["arrays"]) or files[STATE][0] > MAX_JSON_BYTES:
        raise FormatError(f"gives {ARRAYS} or {STATE} a size that does not fit what is in it")
    return Manifest(files, fields["arrays"], fields["meta"])


# -- both ------------------------------------------------------------------------------------------------------


def _hashed(sha256: Any, pieces: Iterable[Any]) -> Iterator[Any]:
    for piece in pieces:
        sha256.update(piece)
        yield piece
        del piece  # before the next one is made


def _digest(path: Path, fields: dict[str, Any]) -> str:
    """SHA-256 of a manifest without its own: a score or a hyperparameter can be damaged as well as a weight."""
    return hashlib.sha256(_json(path, fields)).hexdigest()


def _json(path: Path, value: Any) -> bytes:
    with naming(path):
        return dumps(value, MAX_JSON_BYTES)
