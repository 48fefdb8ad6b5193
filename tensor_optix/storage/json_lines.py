"""Logs of one JSON object a line, that a crash can only shorten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensor_optix.errors import CheckpointError
from tensor_optix.storage.file_system import FileSystem
from tensor_optix.storage.strict_json import FormatError, dumps, loads

MAX_LOG_BYTES = 1 << 30
MAX_ROW_BYTES = 1 << 20


def append_row(fs: FileSystem, path: Path, row: dict[str, Any]) -> None:
    """Add one row. It is not forced to the disk: losing the last rows with the power harms no one."""
    try:
        fs.append(path, dumps(row) + b"\n")
    except FormatError as error:
        raise CheckpointError(path, f"cannot take a row: {error}") from error


def read_rows(fs: FileSystem, path: Path) -> list[dict[str, Any]]:
    """All complete rows; the rest of a line that a crash (or a writer at work) left without its end is ignored."""
    if fs.kind(path) == "absent":
        return []
    lines = fs.read(path, MAX_LOG_BYTES).split(b"\n")
    return [_row(path, number, line) for number, line in enumerate(lines[:-1], start=1)]


def cut_torn_row(fs: FileSystem, path: Path) -> None:
    """Drop an unfinished last line, so that the next row starts on a line of its own. For the writer, on opening."""
    if fs.kind(path) == "absent":
        return
    data = fs.read(path, MAX_LOG_BYTES)
    if data and not data.endswith(b"\n"):
        fs.replace(path, data[: data.rfind(b"\n") + 1])


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = loads(line, MAX_ROW_BYTES)
    except FormatError as error:
        raise CheckpointError(path, f"line {number} {error}") from error
    if not isinstance(row, dict):
        raise CheckpointError(path, f"line {number} is no JSON object")
    return row
