"""How is a file a live feed?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensor_optix.errors import ConfigError, LiveFeedError
from tensor_optix.pipeline.live.line_formats import JsonLines, LineFormat, LineSplitter, decoded
from tensor_optix.pipeline.live.record import Key, MalformedRecord
from tensor_optix.pipeline.live.source import GAP, POLL_SECONDS, BadItem, LiveSource
from tensor_optix.storage.followed_file import FollowedFile


class FileSource(LiveSource):
    """Lines of a file, while it grows. It can be continued behind any record: a record's position is a byte offset.

    line_format: JSON lines by default; give ``CsvLines(...)`` for CSV. follow: False ends the feed at the end of the
    file; True waits for more. A last line without its end is waited for, since it may be half written. A file that
    is replaced or cut (log rotation) is read from its beginning, behind a gap.
    """

    can_seek = True

    def __init__(self, path: str | Path, line_format: LineFormat | None = None, *, follow: bool = True) -> None:
        self._path = Path(path)
        if line_format is None and self._path.suffix.lower() == ".csv":
            raise ConfigError(f"{path} is CSV: name its columns with line_format=CsvLines(observation=[...])")
        self._format = line_format if line_format is not None else JsonLines()
        self._follow = follow
        self.ends = not follow

    def stream(self, after: Key | None = None) -> Iterator[Any]:
        offset = after if isinstance(after, int) else 0
        while True:
            file = FollowedFile(self._path, offset)
            try:
                if file.offset != offset:
                    yield GAP  # it is shorter than it was
                yield from self._items(file)
            finally:
                file.close()
            if not self._follow:
                return
            offset = 0
            yield GAP

    @property
    def description(self) -> str:
        return f"file {self._path.name}"

    def _items(self, file: FollowedFile) -> Iterator[Any]:
        """Until the file ends for good: replaced, or read to its end where it is not followed."""
        if self._format.has_header:
            yield from self._read_header(file)
        splitter = LineSplitter(file.offset)
        while True:
            data = file.read()
            if data:
                for position, line in splitter.lines(data):
                    yield decoded(self._format, position, line)
            elif not self._follow or file.was_replaced:
                for position, line in splitter.last():
                    yield decoded(self._format, position, line)
                return
            else:
                yield None
                time.sleep(POLL_SECONDS)

    def _read_header(self, file: FollowedFile) -> Iterator[Any]:
        """The first line, which stands at the beginning of the file wherever reading goes on."""
        head, start = FollowedFile(self._path), file.offset
        splitter, header = LineSplitter(), None
        try:
            while header is None:
                header = next(splitter.lines(head.read()), None)
                if header is None and not self._follow:
                    return
                if header is None:
                    yield None
                    time.sleep(POLL_SECONDS)
        finally:
            head.close()
        position, line = header
        try:
            if isinstance(line, BadItem):
                raise MalformedRecord(line.reason, line.detail)
            self._format.read_header(line)
        except MalformedRecord as error:
            raise LiveFeedError(f"{self._path} does not begin with the names of its columns: {error}") from None
        if start < position:
            file.seek(position)
