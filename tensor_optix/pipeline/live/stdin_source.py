"""How is what another program writes to us a live feed?"""

from __future__ import annotations

import os
import selectors
import sys
from collections.abc import Iterator
from typing import Any

from tensor_optix.pipeline.live.line_formats import JsonLines, LineFormat, LineSplitter, decoded
from tensor_optix.pipeline.live.record import Key
from tensor_optix.pipeline.live.source import POLL_SECONDS, BadItem, LiveSource

READ_BYTES = 1 << 16


class StdinSource(LiveSource):
    """Lines of standard input (``producer | python train.py``), or of any descriptor that can be waited for.

    Its end is the end of the feed. Nothing else may read the same input.
    """

    ends = True
    keeps_place = True

    def __init__(self, line_format: LineFormat | None = None, *, descriptor: int | None = None) -> None:
        self._format = line_format if line_format is not None else JsonLines()
        self._descriptor = descriptor
        self._splitter = LineSplitter()
        self._knows_header = not self._format.has_header

    def stream(self, after: Key | None = None) -> Iterator[Any]:
        descriptor = sys.stdin.fileno() if self._descriptor is None else self._descriptor
        while True:
            if not _is_ready(descriptor):
                yield None
                continue
            data = os.read(descriptor, READ_BYTES)
            for _, line in self._splitter.lines(data) if data else self._splitter.last():
                yield self._item(line)
            if not data:
                return

    @property
    def description(self) -> str:
        return "standard input" if self._descriptor is None else f"descriptor {self._descriptor}"

    def _item(self, line: bytes | BadItem) -> Any:
        if not self._knows_header and isinstance(line, bytes):
            self._format.read_header(line)
            self._knows_header = True
            return None
        item = decoded(self._format, 0, line)
        return item if item is None or isinstance(item, BadItem) else item.item


def _is_ready(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(descriptor, selectors.EVENT_READ)
        except PermissionError:  # a plain file: never waits
            return True
        return bool(selector.select(POLL_SECONDS))
