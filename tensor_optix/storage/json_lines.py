"""Logs of one JSON object a line, that a crash can only shorten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensor_optix.errors import CheckpointError
from tensor_optix.storage.file_system import FileSystem
from tensor_optix.storage.strict_json import FormatError, dumps, loads, naming

MAX_LOG_BYTES = 1 << 30
MAX_ROW_BYTES = 1 << 20


def append_row(fs: FileSystem, path: Path, row: dict[str, Any]) -> None:
    """Add one row. It is not forced to the disk: losing the last rows with the power harms no one."""
    with naming(path, "cannot take a row: "):
        line = dumps(row, MAX_ROW_BYTES)
    fs.append(path, line + b"\n")


def read_rows(fs: FileSystem, path: Path) -> list[dict[str, Any]]:
    """All complete rows; what a crash, a power loss or a writer at work left unfinished at the end is ignored."""
    if fs.kind(path) == "absent":
        return []
    rows: list[dict[str, Any]] = []
    rest = b""
    for chunk in fs.chunks(path, MAX_LOG_BYTES):
        written, zero, _ = (rest + chunk).partition(b"\0")
        *lines, rest = written.split(b"\n")
        rows += [_row(path, number, line) for number, line in enumerate(lines, start=len(rows) + 1)]
        if zero:
            break
        if len(rest) > MAX_ROW_BYTES:
            raise CheckpointError(path, f"line {len(rows) + 1} has more than the {MAX_ROW_BYTES} bytes allowed")
    return rows


def cut_torn_row(fs: FileSystem, path: Path) -> None:
    """Drop an unfinished end, so that the next row starts on a line of its own. For the writer, on opening.

    A power loss can leave zeros where rows were; no row contains one.
    """
    if fs.kind(path) == "absent":
        return
    data = fs.read(path, MAX_LOG_BYTES)
    end = data.partition(b"\0")[0].rfind(b"\n") + 1
    if end < len(data):
        fs.replace(path, data[:end])


def cut_rows(fs: FileSystem, path: Path, window: int) -> None:
    """Keep only the rows whose ``window`` comes before the given one."""
    rows = read_rows(fs, path)
    kept = [row for row in rows if isinstance(row.get("window"), int) and row["window"] < window]
    if len(kept) < len(rows):
        fs.replace(path, b"".join(dumps(row) + b"\n" for row in kept))


def keep_rows(fs: FileSystem, path: Path, n_rows: int) -> None:
    """Keep only the first ``n_rows`` rows."""
    rows = read_rows(fs, path)
    if n_rows < len(rows):
        fs.replace(path, b"".join(dumps(row) + b"\n" for row in rows[:n_rows]))


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    with naming(path, f"line {number} "):
        row = loads(line, MAX_ROW_BYTES)
        if not isinstance(row, dict):
            raise FormatError("is no JSON object")
    return row
