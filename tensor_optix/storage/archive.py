"""One format for everything that holds weights: a directory that proves its own content.

    arrays.safetensors   every array
    state.json           everything that is no array
    weights...           only if an agent writes its weights itself: a file or a directory of its own
    MANIFEST.json        sizes and SHA-256 of all files above, the arrays' shapes and dtypes, the caller's meta, and
                         the SHA-256 of all that

The manifest is written last, so a directory without one was never finished. A reader checks sizes, then hashes,
and only then looks inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tensor_optix.errors import CheckpointError
from tensor_optix.storage.array_format import (
    MAX_DATA_BYTES,
    MAX_HEADER_BYTES,
    describe_arrays,
    described_bytes,
    pack_arrays,
    unpack_arrays,
)
from tensor_optix.storage.file_system import FileSystem
from tensor_optix.storage.strict_json import FormatError, dumps, loads

FORMAT_VERSION = 1
ARRAYS, STATE, MANIFEST, WEIGHTS = "arrays.safetensors", "state.json", "MANIFEST.json", "weights"
MAX_JSON_BYTES = 4 << 20
MAX_FILE_BYTES = 8 + MAX_HEADER_BYTES + MAX_DATA_BYTES
MAX_DEPTH = 32  # of directories below ``weights``

T = TypeVar("T")
R = TypeVar("R")

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
    fs.make_directory(unfinished)
    try:
        write_archive(fs, unfinished, state=state, arrays=arrays, meta=meta, write_extra=write_extra)
        _put_in_place(fs, unfinished, path)
    except BaseException:
        with suppress(CheckpointError):
            fs.remove_tree(unfinished)
        raise


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
    files = {ARRAYS: _formatted(directory / ARRAYS, pack_arrays, arrays), STATE: _json(directory / STATE, state)}
    _check_space(fs, directory, sum(map(len, files.values())))
    records = []
    for name, data in files.items():
        fs.write_new(directory / name, data)
        records.append(_record(name, len(data), hashlib.sha256(data).hexdigest()))
    if write_extra is not None:
        write_extra(directory / WEIGHTS)
        records += _seal_weights(fs, directory)
    manifest = {
        "format_version": FORMAT_VERSION,
        "files": records,
        "arrays": describe_arrays(arrays),
        "meta": dict(meta),
    }
    manifest["sha256"] = _digest(directory / MANIFEST, manifest)
    fs.write_new(directory / MANIFEST, _json(directory / MANIFEST, manifest))
    fs.sync_directory(directory)


def read_archive(fs: FileSystem, directory: Path) -> Archive:
    """The content of an archive; nothing is parsed before all sizes and hashes have been found right."""
    directory = _current(fs, Path(directory).absolute())
    manifest = read_manifest(fs, directory)
    contents = _verified_contents(fs, directory, manifest.files)
    arrays = _formatted(directory / ARRAYS, unpack_arrays, contents[ARRAYS])
    if describe_arrays(arrays) != manifest.arrays:
        raise CheckpointError(directory / ARRAYS, "holds other arrays than the manifest lists")
    state = _formatted(directory / STATE, lambda data: loads(data, MAX_JSON_BYTES), contents[STATE])
    return Archive(state, arrays, manifest.meta, directory)


def read_manifest(fs: FileSystem, directory: Path) -> Manifest:
    """The manifest alone, for listing; it says nothing about whether the other files are sound."""
    path = directory / MANIFEST
    if fs.kind(directory) != "directory":
        raise CheckpointError(directory, "is not an archive: it is no directory")
    if fs.kind(path) == "absent":
        raise CheckpointError(directory, f"is not an archive: it has no {MANIFEST}")
    fields = _formatted(path, lambda data: loads(data, MAX_JSON_BYTES), fs.read(path, MAX_JSON_BYTES))
    manifest = _formatted(path, _checked_manifest, fields)
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


def _record(name: str, size: int, digest: str) -> dict[str, Any]:
    return {"name": name, "size": size, "sha256": digest}


def _seal_weights(fs: FileSystem, directory: Path) -> list[dict[str, Any]]:
    """Check, sync and hash what an agent wrote itself."""
    records = []
    for name in _files(fs, directory):
        if name.startswith(WEIGHTS):
            fs.sync_file(directory / name)
            records.append(_record(name, *fs.digest(directory / name, MAX_FILE_BYTES)))
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


def _verified_contents(fs: FileSystem, directory: Path, files: dict[str, tuple[int, str]]) -> dict[str, bytes]:
    """The bytes of our own two files, once every file has the size and the hash that the manifest gives.

    Only names found in the directory are opened; a name that only the manifest has leads nowhere.
    """
    found = set(_files(fs, directory)) - {MANIFEST}
    if odd := sorted(found ^ set(files)):
        problem = "is not listed in the manifest" if odd[0] in found else "is listed in the manifest but missing"
        raise CheckpointError(directory, f"{odd[0][:100]!r} {problem}")
    for name, (size, _) in files.items():
        if fs.size(directory / name) != size:
            raise CheckpointError(directory / name, f"has {fs.size(directory / name)} bytes instead of {size}")
    contents = {name: fs.read(directory / name, files[name][0]) for name in (ARRAYS, STATE)}
    for name, (size, digest) in files.items():
        ours = contents.get(name)
        found_digest = fs.digest(directory / name, size)[1] if ours is None else hashlib.sha256(ours).hexdigest()
        if found_digest != digest:
            raise CheckpointError(directory / name, "is damaged: its content does not match its SHA-256")
    return contents


def _checked_manifest(fields: Any) -> Manifest:
    """The manifest's fields in their types. Raises FormatError."""
    if not isinstance(fields, dict):
        raise FormatError("is no JSON object")
    version = fields.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise FormatError(f"has format_version {str(version)[:20]}, this release reads {FORMAT_VERSION}")
    if set(fields) != {"format_version", "files", "arrays", "meta", "sha256"}:
        raise FormatError("needs format_version, files, arrays, meta and sha256, and nothing else")
    files, arrays, meta = fields["files"], fields["arrays"], fields["meta"]
    if not (isinstance(files, list) and isinstance(arrays, dict) and isinstance(meta, dict)):
        raise FormatError("has fields of wrong types")
    listed = dict(map(_checked_record, files))
    if len(listed) != len(files) or not {ARRAYS, STATE} <= set(listed):
        raise FormatError(f"must list every file once, {ARRAYS} and {STATE} among them")
    surplus = listed[ARRAYS][0] - described_bytes(arrays)
    if not 8 <= surplus <= 8 + MAX_HEADER_BYTES or listed[STATE][0] > MAX_JSON_BYTES:
        raise FormatError(f"gives {ARRAYS} or {STATE} a size that does not fit what is in it")
    return Manifest(listed, arrays, meta)


def _checked_record(record: Any) -> tuple[str, tuple[int, str]]:
    if not isinstance(record, dict) or set(record) != {"name", "size", "sha256"}:
        raise FormatError("has a file entry that is not name, size and sha256")
    name, size, digest = record["name"], record["size"], record["sha256"]
    if not isinstance(name, str) or not isinstance(digest, str):
        raise FormatError("has a file entry with wrong types")
    if type(size) is not int or not 0 <= size <= MAX_FILE_BYTES:
        raise FormatError(f"gives {name[:100]!r} an impossible size")
    return name, (size, digest)


def _digest(path: Path, fields: dict[str, Any]) -> str:
    """SHA-256 of a manifest without its own: a score or a hyperparameter can be damaged as well as a weight."""
    return hashlib.sha256(_json(path, fields)).hexdigest()


def _json(path: Path, value: Any) -> bytes:
    data = _formatted(path, dumps, value)
    if len(data) > MAX_JSON_BYTES:
        raise CheckpointError(path, f"would have {len(data)} bytes, more than the {MAX_JSON_BYTES} that are read back")
    return data


def _formatted(path: Path, convert: Callable[[T], R], value: T) -> R:
    """``convert(value)``, with ``path`` added to what it complains about."""
    try:
        return convert(value)
    except FormatError as error:
        raise CheckpointError(path, str(error)) from error
