"""How the package touches the disk: every durable operation is a method of one FileSystem object.

Nothing else opens, renames or deletes. A test can therefore stand in for the disk with a subclass and make any
single operation fail, tear or be forgotten.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterable, Iterator
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
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
_LOOK = os.O_RDONLY | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


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
        return b"".join(self.chunks(path, max_bytes))

    def chunks(self, path: Path, max_bytes: int) -> Iterator[bytes]:
        """What ``read`` would give, in the memory of one chunk."""
        with _opened(path, "read it", _LOOK) as descriptor:
            size = _plain_size(descriptor, path)
            if size > max_bytes:
                raise CheckpointError(path, f"has {size} bytes, more than the {max_bytes} allowed")
            while size > 0 and (chunk := os.read(descriptor, min(size, CHUNK_BYTES))):
                yield chunk
                size -= len(chunk)

    def free_bytes(self, path: Path) -> int:
        """Bytes that this user can still write on the file system of ``path``."""
        with _explained(path, "look at its file system"):
            status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    # -- files -------------------------------------------------------------------------------------------------

    def write_new(self, path: Path, data: bytes | Iterable[bytes | memoryview]) -> None:
        """Create ``path`` with ``data`` (whole or in pieces), on the disk itself when this returns.

        Fails if the name is taken.
        """
        with _opened(path, "write it", _CREATE | os.O_EXCL) as descriptor:
            for piece in [data] if isinstance(data, bytes) else data:
                self._write_all(descriptor, piece)
                del piece  # before the next one is made
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
        with _opened(path, "append to it", _CREATE | os.O_APPEND) as descriptor:
            size = _plain_size(descriptor, path)
            try:
                self._write_all(descriptor, data)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise

    def sync_file(self, path: Path) -> None:
        """Force a file's content to the disk."""
        with _opened(path, "sync it", _LOOK) as descriptor:
            self._sync(descriptor)

    def remove_file(self, path: Path) -> None:
        """Delete one file."""
        with _explained(path, "delete it"):
            path.unlink()

    def rename(self, source: Path, target: Path) -> None:
        """Move ``source`` to ``target`` in one step; a file takes the place of a file."""
        with _explained(source, f"rename it to {target.name}"):
            source.rename(target)

    # -- directories -------------------------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        """Create a directory for this user only. Fails if the name is taken."""
        with _explained(path, "create it"):
            path.mkdir(mode=0o700)

    @contextmanager
    def building(self, path: Path) -> Iterator[None]:
        """Create the directory ``path``, to be filled and renamed; on any error on the way it is deleted again."""
        self.make_directory(path)
        try:
            yield
        except BaseException:
            with suppress(CheckpointError):
                self.remove_tree(path)
            raise

    def ensure_directory(self, path: Path) -> None:
        """Create a directory and its parents where they are missing, durably.

        An empty one may be what a killed process had just made, so its name is forced to the disk as well.
        """
        if path.is_dir() and self.names(path):
            return
        if not path.is_dir():
            self.ensure_directory(path.parent)
            try:
                self.make_directory(path)
            except CheckpointError:
                if not path.is_dir():  # otherwise somebody else was faster
                    raise
        self.sync_directory(path.parent)

    def sync_directory(self, path: Path) -> None:
        """Force a directory's names to the disk: without it a new or renamed file may vanish with the power."""
        with _opened(path, "sync it", _DIRECTORY) as descriptor:
            self._sync(descriptor)

    def remove_tree(self, path: Path) -> None:
        """Delete a directory and all that is in it; links are deleted, not followed."""
        with _explained(path, "delete it"):
            shutil.rmtree(path)

    # -- locks -------------------------------------------------------------------------------------------------

    def lock(self, path: Path) -> FileLock:
        """Take the lock file ``path``, or say at once who holds it."""
        with _opened(path, "lock it", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW) as opened:
            _plain_size(opened, path)
            _take(opened, path)
            os.ftruncate(opened, 0)
            self._write_all(opened, f"pid {os.getpid()} on {socket.gethostname()}".encode())
            return FileLock(os.dup(opened))  # the same lock, which outlives the closing of the first

    @contextmanager
    def turn(self, path: Path) -> Iterator[bool]:
        """Wait for the turn to change the names in a directory, for some milliseconds of work.

        Gives False where directories cannot be locked, as on some network file systems: others may be at work.
        """
        with _opened(path, "lock it", _DIRECTORY) as descriptor:
            is_alone = True
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:
                is_alone = False
            try:
                yield is_alone
            finally:
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may hold a copy: closing is not enough

    # -- the two steps of every write --------------------------------------------------------------------------

    def _write_all(self, descriptor: int, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def _sync(self, descriptor: int) -> None:
        os.fsync(descriptor)


@contextmanager
def _explained(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise CheckpointError(path, f"cannot {action}: out of memory; free some memory") from error
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        reason = f"cannot {action}: {error.strerror or error}" + (f"; {remedy}" if remedy else "")
        raise CheckpointError(path, reason) from error


@contextmanager
def _opened(path: Path, action: str, flags: int) -> Iterator[int]:
    """An open file or directory (never waiting for the other end of a pipe), with its errors explained."""
    with _explained(path, action):
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
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


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        time.sleep(_NAMING_SECONDS)
        holder = os.read(descriptor, 200).decode(errors="replace")
        who = holder if holder and holder.isprintable() else "another process"
        raise CheckpointError(path, f"is held by {who}; wait for it to end or use another directory") from error
