"""Disks that die, fail or forget at one chosen operation.

Each is a FileSystem whose durable operations are taken apart into the steps that a kernel sees: make, create, write,
sync, rename, unlink, rmdir. ``CrashFileSystem`` ends the process at one of them, ``FaultFileSystem`` lets one fail,
``RecordingFileSystem`` notes all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileLock, FileSystem

CRASHED = 77  # exit status of a process that CrashFileSystem ended


@dataclass(frozen=True)
class Operation:
    """One step. ``kind`` is make, create, write, sync, rename, unlink, rmdir, look or acknowledge."""

    kind: str
    path: Path
    target: Path | None = None
    data: bytes = b""


class SteppedFileSystem(FileSystem):
    """A disk that does everything in single steps, each inside ``_step``."""

    @contextmanager
    def _step(self, operation: Operation) -> Iterator[None]:
        yield

    def make_directory(self, path: Path) -> None:
        with self._step(Operation("make", path)):
            super().make_directory(path)

    def write_new(self, path: Path, data: bytes) -> None:
        with self._step(Operation("create", path)):
            pass  # "after" a creation is "before" the write that follows
        super().write_new(path, data)

    def append(self, path: Path, data: bytes) -> None:
        if not path.exists():
            with self._step(Operation("create", path)):
                pass
        super().append(path, data)

    def lock(self, path: Path) -> FileLock:
        if not path.exists():
            with self._step(Operation("create", path)):
                pass
        return super().lock(path)

    def rename(self, source: Path, target: Path) -> None:
        with self._step(Operation("rename", source, target)):
            super().rename(source, target)

    def remove_file(self, path: Path) -> None:
        with self._step(Operation("unlink", path)):
            super().remove_file(path)

    def remove_tree(self, path: Path) -> None:
        for child in [path / name for name in FileSystem.names(self, path)]:
            if child.is_dir() and not child.is_symlink():
                self.remove_tree(child)
            else:
                self.remove_file(child)
        with self._step(Operation("rmdir", path)):
            super().remove_tree(path)

    def _write_all(self, descriptor: int, data: bytes) -> None:
        with self._step(Operation("write", path_of(descriptor), data=bytes(data))):
            super()._write_all(descriptor, data)

    def _sync(self, descriptor: int) -> None:
        with self._step(Operation("sync", path_of(descriptor))):
            pass  # a process that ends takes nothing with it that was handed to the kernel; saves the tests minutes


class CountingFileSystem(SteppedFileSystem):
    """Notes what is done, to know where to strike."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    @contextmanager
    def _step(self, operation: Operation) -> Iterator[None]:
        self.operations.append(operation)
        yield


@dataclass(frozen=True)
class CrashPoint:
    """Before (``n_bytes`` None) or after (-1) the operation with this number, or within it after ``n_bytes``."""

    number: int
    n_bytes: int | None = None


AFTER = -1


def crash_points(operations: list[Operation]) -> list[CrashPoint]:
    """Every place at which a process can end: before and after each operation, and within each write."""
    points = []
    for number, operation in enumerate(operations):
        n_bytes = len(operation.data)
        torn = sorted({1, n_bytes // 2, n_bytes - 1} - {0, n_bytes, -1}) if operation.kind == "write" else []
        points += [CrashPoint(number), CrashPoint(number, AFTER), *(CrashPoint(number, n) for n in torn)]
    return points


class CrashFileSystem(SteppedFileSystem):
    """Ends the process at one point, as ``kill -9`` does: no handler runs, nothing is flushed."""

    def __init__(self, point: CrashPoint) -> None:
        self.point = point
        self.number = -1

    @contextmanager
    def _step(self, operation: Operation) -> Iterator[None]:
        self.number += 1
        if self.number == self.point.number and self.point.n_bytes is None:
            os._exit(CRASHED)
        yield
        if self.number == self.point.number and self.point.n_bytes == AFTER:
            os._exit(CRASHED)

    def _write_all(self, descriptor: int, data: bytes) -> None:
        if self.number + 1 == self.point.number and (self.point.n_bytes or 0) > 0:
            os.write(descriptor, data[: self.point.n_bytes])
            os._exit(CRASHED)
        super()._write_all(descriptor, data)


class FaultFileSystem(SteppedFileSystem):
    """Fails at operation ``fail_at`` with ``error`` (an errno), once or from then on; looking can fail too.

    With ``short``, writes fail after half of their bytes, and nothing else fails. ``failed`` counts the failures.
    A file whose sync failed must never be synced again: that would report success for data that is gone.
    """

    def __init__(self, fail_at: int, error: int, *, for_ever: bool = False, short: bool = False) -> None:
        self.fail_at, self.error, self.for_ever, self.short = fail_at, error, for_ever, short
        self.number = -1
        self.failed = 0
        self.unsyncable: set[Path] = set()

    def _fails(self, operation: Operation) -> bool:
        if self.short and operation.kind != "write":
            return False
        self.number += 1
        fails = self.number == self.fail_at or (self.for_ever and self.number > self.fail_at >= 0)
        self.failed += fails
        return fails

    def heal(self) -> None:
        """From now on everything works."""
        self.fail_at = -1

    @contextmanager
    def _step(self, operation: Operation) -> Iterator[None]:
        if operation.kind == "sync":
            if operation.path in self.unsyncable:
                raise AssertionError(f"{operation.path} was synced again after a sync of it had failed")
            if self._fails(operation):
                if operation.path.is_file():
                    self.unsyncable.add(operation.path)
                raise OSError(self.error, os.strerror(self.error))
        elif operation.kind != "write" and self._fails(operation):
            raise CheckpointError(operation.path, f"cannot {operation.kind} this") from OSError(self.error, "injected")
        yield
        if operation.kind == "unlink":
            self.unsyncable.discard(operation.path)  # the name is free for another file

    def _write_all(self, descriptor: int, data: bytes) -> None:
        if self._fails(Operation("write", path_of(descriptor), data=data)):
            if self.short:
                os.write(descriptor, data[: len(data) // 2])
            raise OSError(self.error, os.strerror(self.error))
        super()._write_all(descriptor, data)

    def _look(self, path: Path) -> None:
        with self._step(Operation("look", path)):
            pass

    def kind(self, path: Path) -> Any:
        self._look(path)
        return super().kind(path)

    def size(self, path: Path) -> int:
        self._look(path)
        return super().size(path)

    def names(self, path: Path) -> list[str]:
        self._look(path)
        return super().names(path)

    def chunks(self, path: Path, max_bytes: int) -> Iterator[bytes]:
        self._look(path)
        yield from super().chunks(path, max_bytes)

    def free_bytes(self, path: Path) -> int:
        self._look(path)
        return super().free_bytes(path)


class RecordingFileSystem(SteppedFileSystem):
    """Notes every operation that changes the disk, and what was promised to the caller in between."""

    def __init__(self) -> None:
        self.log: list[Operation] = []

    @contextmanager
    def _step(self, operation: Operation) -> Iterator[None]:
        yield
        self.log.append(operation)

    def acknowledge(self, promise: str) -> None:
        """Note that the caller has been told so."""
        self.log.append(Operation("acknowledge", Path(promise)))


class WithoutFileSync(RecordingFileSystem):
    """Mutant: the content of files is never forced to the disk."""

    @contextmanager
    def _step(self, operation: Operation) -> Iterator[None]:
        yield
        if not (operation.kind == "sync" and operation.path.is_file()):
            self.log.append(operation)


class WithoutDirectorySync(RecordingFileSystem):
    """Mutant: the names inside what is being written are never forced to the disk."""

    def sync_directory(self, path: Path) -> None:
        if not is_unfinished(path):
            super().sync_directory(path)


class WithoutParentSync(RecordingFileSystem):
    """Mutant: the final name is never forced to the disk."""

    def sync_directory(self, path: Path) -> None:
        if is_unfinished(path):
            super().sync_directory(path)


class WithoutSync(RecordingFileSystem):
    """Mutant: the sync with this number is left out."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @contextmanager
    def _step(self, operation: Operation) -> Iterator[None]:
        yield
        self.number -= operation.kind == "sync"
        if not (operation.kind == "sync" and self.number == -1):
            self.log.append(operation)


def is_unfinished(path: Path) -> bool:
    """True for what is being written under a name that is not its final one."""
    return any(part.startswith(".tmp-") or part.endswith(".unfinished") for part in path.parts)


def path_of(descriptor: int) -> Path:
    """The path that an open file was opened by."""
    return Path(f"/proc/self/fd/{descriptor}").readlink()
