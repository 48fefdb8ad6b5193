"""One run on disk: who it is, what it logged, and who may write to it.

    run.json                      identity (fixed) and summary (what is known so far)
    LOCK                          held by the writer; readers need no lock
    snapshots/  training/         see ``SnapshotStore``
    metrics.jsonl  events.jsonl   a row per tick; a row per decision
    report.html  plan.json ...    whatever ``write_bytes`` is given
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from tensor_optix.errors import CheckpointError, ConfigError
from tensor_optix.storage.file_system import TEMPORARY, FileLock, FileSystem
from tensor_optix.storage.json_lines import append_row, cut_rows, cut_torn_row, keep_rows, read_rows
from tensor_optix.storage.strict_json import FormatError, dumps, has_fields, loads, naming

FORMAT_VERSION = 1
RUN_FILE, LOCK_FILE = "run.json", "LOCK"
METRICS_FILE, EVENTS_FILE = "metrics.jsonl", "events.jsonl"
MAX_RUN_BYTES = 4 << 20
MAX_SEQUENCE = 10**12

_LEFTOVER = re.compile(re.escape(TEMPORARY) + r".+-[0-9a-f]{8}")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
_FILE_NAME = re.compile(r"([a-z]{1,20}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


def new_run_id(now: datetime, nonce: str) -> str:
    """A name that sorts by time and reads well, for example 20261123-094501-3f2a."""
    return f"{now:%Y%m%d-%H%M%S}-{nonce}"


class RunDirectory:
    """The directory of one run. ``create`` makes it and holds its lock; ``open`` reads one and writes nothing."""

    def __init__(self, fs: FileSystem, path: Path, record: dict[str, Any], lock: FileLock | None) -> None:
        self._fs = fs
        self._record = record
        self._lock = lock
        self.path = path

    # -- making and finding ------------------------------------------------------------------------------------

    @classmethod
    def create(cls, fs: FileSystem, parent: Path, run_id: str, identity: Mapping[str, Any]) -> Self:
        """Make ``<parent>/<run_id>/`` and take its lock. Nobody ever sees it half made.

        Raises ConfigError when ``parent`` is a file or itself a run, CheckpointError when it cannot be written.
        """
        parent = Path(parent).resolve()
        if fs.kind(parent) not in ("absent", "directory"):
            raise ConfigError(f"{parent} is a file; give a directory to put runs into")
        if fs.kind(parent / RUN_FILE) != "absent":
            raise ConfigError(f"{parent} is itself a run; give its parent {parent.parent}, or another directory")
        if not _RUN_ID.fullmatch(run_id):
            raise ConfigError(f"run_id must be letters, digits, '.', '_' or '-', got {run_id!r}")
        with _told_unwritable(parent):
            fs.ensure_directory(parent)
        with fs.turn(parent) as is_alone:
            if is_alone:
                _sweep(fs, parent)
            if fs.kind(parent / run_id) != "absent":
                raise CheckpointError(parent / run_id, "exists already; choose another run_id")
            record = {
                "format_version": FORMAT_VERSION,
                "run_id": run_id,
                "sequence": _next_sequence(fs, parent),
                "identity": dict(identity),
                "summary": {},
            }
            lock = _make(fs, parent, run_id, _packed(parent / run_id, record))
        return cls(fs, parent / run_id, record, lock)

    @classmethod
    def open(cls, fs: FileSystem, path: Path) -> Self:
        """An existing run, to read. Raises CheckpointError that names the runs below ``path`` if it is no run."""
        path = Path(path).resolve()
        if fs.kind(path) == "absent":
            raise CheckpointError(path, "does not exist")
        if fs.kind(path) != "directory":
            raise CheckpointError(path, "is not a run directory: it is a file; give the directory that holds run.json")
        if fs.kind(path / RUN_FILE) == "absent":
            newest = ", ".join(run.name for run in runs_below(fs, path)[:3])
            hint = f"; its newest runs are {newest}" if newest else ""
            raise CheckpointError(path, f"is not a run directory: it has no {RUN_FILE}{hint}")
        return cls(fs, path, _read_record(fs, path), None)

    # -- identity ----------------------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's name."""
        return str(self._record["run_id"])

    @property
    def identity(self) -> dict[str, Any]:
        """What the run is: given at creation, for example seed, fingerprint and versions."""
        return dict(self._record["identity"])

    @property
    def summary(self) -> dict[str, Any]:
        """What is known of the run so far, for lists of runs."""
        return dict(self._record["summary"])

    @property
    def training_directory(self) -> Path:
        """Where the newest training state is kept."""
        return self.path / "training"

    def update_summary(self, summary: Mapping[str, Any]) -> None:
        """Add to the summary; names that are there already get the new value."""
        path, record = self._writable(RUN_FILE), {**self._record, "summary": {**self.summary, **summary}}
        self._fs.replace(path, _packed(path, record))
        self._record = record

    # -- the lock ----------------------------------------------------------------------------------------------

    @property
    def is_locked(self) -> bool:
        """True while this object is the run's writer."""
        return self._lock is not None

    def lock(self) -> None:
        """Become the writer, and tidy up what a killed one left. Raises CheckpointError that says who holds it."""
        if self._lock is None:
            self._lock = self._fs.lock(self.path / LOCK_FILE)
            try:
                self._tidy()
                self._record = _read_record(self._fs, self.path)
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Stop being the writer; ``lock`` may follow again. A second call does nothing."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- logs and files ----------------------------------------------------------------------------------------

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Log one tick."""
        append_row(self._fs, self._writable(METRICS_FILE), row)

    def append_event(self, row: dict[str, Any]) -> None:
        """Log one decision with its evidence."""
        append_row(self._fs, self._writable(EVENTS_FILE), row)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Every complete row of ``append_metrics``."""
        return read_rows(self._fs, self.path / METRICS_FILE)

    def read_events(self) -> list[dict[str, Any]]:
        """Every complete row of ``append_event``."""
        return read_rows(self._fs, self.path / EVENTS_FILE)

    def cut_rows(self, window: int, n_events: int) -> None:
        """Drop the metrics of ``window`` and later ones, and all but the first ``n_events`` events: they are about to
        be written again."""
        cut_rows(self._fs, self._writable(METRICS_FILE), window)
        keep_rows(self._fs, self._writable(EVENTS_FILE), n_events)

    def write_bytes(self, name: str, data: bytes) -> None:
        """Give the file ``name`` (or ``folder/name``) new content, atomically."""
        path = self._writable(name)
        if self._fs.kind(path.parent) == "other":
            raise CheckpointError(path.parent, "is a link, so nothing is written there; move it away")
        self._fs.ensure_directory(path.parent)
        self._fs.replace(path, data)

    def _writable(self, name: str) -> Path:
        if self._lock is None:
            raise CheckpointError(self.path / name, "cannot be written: this run is not locked for writing")
        if not _FILE_NAME.fullmatch(name):
            raise ConfigError(f"a run's file must be a plain name, or one below a folder, got {name!r}")
        return self.path / name

    def _tidy(self) -> None:
        folders = [name for name in self._fs.names(self.path) if self._fs.kind(self.path / name) == "directory"]
        for folder in (self.path, *(self.path / name for name in folders)):
            for name in self._fs.names(folder):
                if name.startswith(TEMPORARY) and self._fs.kind(folder / name) == "file":
                    self._fs.remove_file(folder / name)
        for name in (METRICS_FILE, EVENTS_FILE):
            cut_torn_row(self._fs, self.path / name)


def latest_run(fs: FileSystem, parent: Path) -> Path | None:
    """The run below ``parent`` that was created last (by its number, not by any clock), or None."""
    return next(iter(runs_below(fs, parent)), None)


def runs_below(fs: FileSystem, parent: Path) -> list[Path]:
    """Every sound run directly below ``parent``, the one created last first."""
    parent = Path(parent).resolve()
    if fs.kind(parent) != "directory":
        return []
    return [parent / name for _, name in sorted(_runs(fs, parent), reverse=True)]


def _runs(fs: FileSystem, parent: Path) -> list[tuple[int, str]]:
    """(sequence, name) of every sound run below ``parent``; damaged and foreign directories are none."""
    found = []
    for name in fs.names(parent):
        if _RUN_ID.fullmatch(name) and fs.kind(parent / name / RUN_FILE) == "file":
            with suppress(CheckpointError):
                found.append((_read_record(fs, parent / name)["sequence"], name))
    return found


def _next_sequence(fs: FileSystem, parent: Path) -> int:
    sequence = 1 + max((sequence for sequence, _ in _runs(fs, parent)), default=0)
    if sequence > MAX_SEQUENCE:
        raise CheckpointError(parent, "has used up the numbers of its runs; choose another directory")
    return sequence


def _sweep(fs: FileSystem, parent: Path) -> None:
    """Delete what processes left that were killed while they made a run; anything that may be a user's is let be."""
    for path in (parent / name for name in fs.names(parent) if _LEFTOVER.fullmatch(name)):
        if fs.kind(path) == "directory" and set(fs.names(path)) <= {LOCK_FILE, RUN_FILE}:
            fs.remove_tree(path)


def _make(fs: FileSystem, parent: Path, run_id: str, record: bytes) -> FileLock:
    """Build the directory under another name and rename it; the lock travels with it."""
    unfinished = parent / f"{TEMPORARY}{run_id}-{secrets.token_hex(4)}"
    with _told_unwritable(parent), fs.building(unfinished):
        lock = fs.lock(unfinished / LOCK_FILE)
        try:
            fs.write_new(unfinished / RUN_FILE, record)
            fs.sync_directory(unfinished)
            fs.rename(unfinished, parent / run_id)
            fs.sync_directory(parent)
        except BaseException:
            lock.release()
            raise
    return lock


@contextmanager
def _told_unwritable(parent: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(parent, f"is not writable: {error.reason}") from error


def _packed(path: Path, record: dict[str, Any]) -> bytes:
    with naming(path, "cannot describe the run: "):
        return dumps(record, MAX_RUN_BYTES)


def _read_record(fs: FileSystem, path: Path) -> dict[str, Any]:
    """The content of run.json, every field checked."""
    kinds = {"format_version": int, "run_id": str, "sequence": int, "identity": dict, "summary": dict}
    with naming(path / RUN_FILE):
        record: dict[str, Any] = loads(fs.read(path / RUN_FILE, MAX_RUN_BYTES), MAX_RUN_BYTES)
        if not has_fields(record, kinds):
            raise FormatError(f"must hold {', '.join(kinds)} in their types, and nothing else")
        if record["format_version"] != FORMAT_VERSION:
            raise FormatError(f"has format_version {record['format_version']}, this release reads {FORMAT_VERSION}")
        if not _RUN_ID.fullmatch(record["run_id"]) or not 0 < record["sequence"] <= MAX_SEQUENCE:
            raise FormatError("has an impossible run_id or sequence")
    return record
