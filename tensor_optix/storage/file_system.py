"""How the package touches the disk: every durable operation is a method of one FileSystem object.

Nothing else opens, renames or deletes. A test can therefore stand in for the disk with a subclass and make any
single operation fail, tear or be forgotten.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from tensor_optix.errors import CheckpointError

Kind = Literal["absent", "file", "directory", "other"]

CHUNK_BYTES = 1 << 20
TEMPORARY = ".tmp-"  # prefix of whatever is not finished yet; the holder of the lock may delete it

_NAMING_SECONDS = 0.05  # by then whoever has just taken a lock has written its name into it

_NO_SPACE = "free some space or choose another directory"
_NO_PERMISSION = "give this user permission or choose another directory"
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EROFS: "choose a directory on a writable file system",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.ELOOP: "it is a symbolic link, and links are not followed here",
}


class FileLock:
    """A held lock. It dies with the process, so there are no stale locks to break."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._owner = os.getpid()

    def release(self) -> None:
        """Give the lock back; a second call does nothing, and neither does a forked child's."""
        if self._descriptor is not None and self._owner == os.getpid():
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None


class FileSystem:
    """Durable operations. Every OSError becomes a CheckpointError that names the path, the cause and the remedy."""

    # -- looking -----------------------------------------------------------------------------------------------

    def kind(self, path: Path) -> Kind:
        """What ``path`` itself is; a link is "other", whatever it points to."""
        with _explained(path, "look at it"):
            try:
                mode = path.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                return "absent"
        if stat.S_ISREG(mode):
            return "file"
        return "directory" if stat.S_ISDIR(mode) else "other"

    def size(self, path: Path) -> int:
        """Size of ``path`` in bytes."""
        with _explained(path, "look at it"):
            return path.lstat().st_size

    def names(self, path: Path) -> list[str]:
        """The names in a directory, sorted (the order of a bare listing differs between machines)."""
        with _explained(path, "list it"):
            return sorted(entry.name for entry in path.iterdir())

    def read(self, path: Path, max_bytes: int) -> bytes:
        """All bytes of a plain file with a single name and at most ``max_bytes``, judged before anything is read."""
        return b"".join(self.chunks(path, max_bytes, chunk_bytes=max_bytes))

    def digest(self, path: Path, max_bytes: int) -> tuple[int, str]:
        """(size, SHA-256) of what ``read`` would give, in the memory of one chunk."""
        size, sha256 = 0, hashlib.sha256()
        for chunk in self.chunks(path, max_bytes):
            size += len(chunk)
            sha256.update(chunk)
        return size, sha256.hexdigest()

    def chunks(self, path: Path, max_bytes: int, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """What ``read`` would give, piece by piece."""
        flags = os.O_RDONLY | os.O_NONBLOCK
        with _explained(path, "read it"), _opened(path, flags) as descriptor:
            size = _plain_size(descriptor, path)
            if size > max_bytes:
                raise CheckpointError(path, f"has {size} bytes, more than the {max_bytes} allowed")
            yield from _pieces(descriptor, size, chunk_bytes)

    def free_bytes(self, path: Path) -> int:
        """Bytes that this user can still write on the file system of ``path``."""
        with _explained(path, "look at its file system"):
            status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    # -- files -------------------------------------------------------------------------------------------------

    def write_new(self, path: Path, data: bytes) -> None:
        """Create ``path`` with ``data``, on the disk itself when this returns. Fails if the name is taken."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with _explained(path, "write it"), _opened(path, flags) as descriptor:
            self._write_all(descriptor, data)
            self._sync(descriptor)

    def replace(self, path: Path, data: bytes) -> None:
        """Give ``path`` new content; at every instant it holds all of the old or all of the new."""
        temporary = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(4)}")
        try:
            self.write_new(temporary, data)
            self.rename(temporary, path)
        except BaseException:
            with suppress(CheckpointError):
                self.remove_file(temporary)
            raise
        self.sync_directory(path.parent)

    def append(self, path: Path, data: bytes) -> None:
        """Add ``data`` at the end, creating the file if need be; on an error the old end is restored. Not synced."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
        with _explained(path, "append to it"), _opened(path, flags) as descriptor:
            size = _plain_size(descriptor, path)
            try:
                self._write_all(descriptor, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise

    def sync_file(self, path: Path) -> None:
        """Force a file's content to the disk."""
        with _explained(path, "sync it"), _opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            self._sync(descriptor)

    def remove_file(self, path: Path) -> None:
        """Delete one file."""
        with _explained(path, "delete it"):
            path.unlink()

    # -- directories -------------------------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        """Create a directory for this user only. Fails if the name is taken."""
        with _explained(path, "create it"):
            path.mkdir(mode=0o700)

    def ensure_directory(self, path: Path) -> None:
        """Create a directory and its parents where they are missing, durably.

        An empty one may be what a killed process had just made, so its name is forced to the disk as well.
        """
        if path.is_dir():
            if not self.names(path):
                self.sync_directory(path.parent)
            return
        self.ensure_directory(path.parent)
        try:
            self.make_directory(path)
        except CheckpointError:
            if not path.is_dir():  # otherwise somebody else was faster
                raise
        self.sync_directory(path.parent)

    def sync_directory(self, path: Path) -> None:
        """Force a directory's names to the disk: without it a new or renamed file may vanish with the power."""
        with _explained(path, "sync it"):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._sync(descriptor)
            finally:
                os.close(descriptor)

    def remove_tree(self, path: Path) -> None:
        """Delete a directory and all that is in it; links are deleted, not followed."""
        with _explained(path, "delete it"):
            shutil.rmtree(path)

    def rename(self, source: Path, target: Path) -> None:
        """Move ``source`` to ``target`` in one step; a file takes the place of a file."""
        with _explained(source, f"rename it to {target.name}"):
            source.rename(target)

    # -- locks -------------------------------------------------------------------------------------------------

    def lock(self, path: Path) -> FileLock:
        """Take the lock file ``path``, or say at once who holds it."""
        with _explained(path, "lock it"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _plain_size(descriptor, path)
                _take(descriptor, path)
                os.ftruncate(descriptor, 0)
                self._write_all(descriptor, f"pid {os.getpid()} on {socket.gethostname()}".encode())
            except BaseException:
                os.close(descriptor)
                raise
        return FileLock(descriptor)

    @contextmanager
    def turn(self, path: Path) -> Iterator[bool]:
        """Wait for the turn to change the names in a directory, for some milliseconds of work.

        Gives False where directories cannot be locked, as on some network file systems: others may be at work.
        """
        with _explained(path, "lock it"):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield _took_turn(descriptor)
        finally:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may hold a copy, so closing is not enough
            os.close(descriptor)

    # -- the two steps of every write --------------------------------------------------------------------------

    def _write_all(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def _sync(self, descriptor: int) -> None:
        os.fsync(descriptor)


@contextmanager
def _explained(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        reason = f"cannot {action}: {error.strerror or error}" + (f"; {remedy}" if remedy else "")
        raise CheckpointError(path, reason) from error


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _plain_size(descriptor: int, path: Path) -> int:
    """Size of an open plain file that has no other name, somewhere outside, under which it would be changed too."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(path, "is not a plain file")
    if status.st_nlink != 1:
        raise CheckpointError(path, "is a hard link to a file that has other names")
    return status.st_size


def _pieces(descriptor: int, size: int, chunk_bytes: int) -> Iterator[bytes]:
    while size > 0 and (chunk := os.read(descriptor, min(size, chunk_bytes))):
        yield chunk
        size -= len(chunk)


def _took_turn(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        time.sleep(_NAMING_SECONDS)
        holder = os.read(descriptor, 200).decode(errors="replace")
        who = holder if holder and holder.isprintable() else "another process"
        raise CheckpointError(path, f"is held by {who}; wait for it to end or use another directory") from error
