"""How is a file read that somebody else is writing?"""

from __future__ import annotations

import os
import stat
from pathlib import Path

CHUNK_BYTES = 1 << 16


class FollowedFile:
    """Gives what was added to a file since the last call. Errors of the system surface as they are (OSError).

    Raises IsADirectoryError or OSError for what is no plain file: a pipe or a device could block for ever.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.offset = 0
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._check_plain()
            is_there = offset <= os.fstat(self._descriptor).st_size
            self.seek(offset if is_there else 0)
        except BaseException:
            self.close()
            raise

    def read(self) -> bytes:
        """The next bytes, none where there are none yet."""
        data = os.read(self._descriptor, CHUNK_BYTES)
        self.offset += len(data)
        return data

    def seek(self, offset: int) -> None:
        """Read on from ``offset``."""
        self.offset = os.lseek(self._descriptor, offset, os.SEEK_SET)

    @property
    def was_replaced(self) -> bool:
        """True when the path leads to another file by now, or this one was cut below what has been read."""
        mine = os.fstat(self._descriptor)
        if mine.st_size < self.offset:
            return True
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False  # it was moved away and the next one is not there yet: what is written to it still counts
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _check_plain(self) -> None:
        mode = os.fstat(self._descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{self._path} is a directory")
        if not stat.S_ISREG(mode):
            raise OSError(f"{self._path} is no plain file")
