"""How is an async iterable read from a thread that has to look up now and then?"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

_END = object()


class AsyncReader:
    """Runs an event loop of its own while it is asked. What is awaited stays awaited when nobody asks any more."""

    def __init__(self, records: AsyncIterable[Any]) -> None:
        self._records = records
        self._iterator: AsyncIterator[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def items(self, poll_seconds: float) -> Iterator[Any]:
        """The items; None whenever there was none for ``poll_seconds``."""
        while True:
            item = self._next(poll_seconds)
            if item is _END:
                return
            yield item

    def close(self) -> None:
        """Cancel what is awaited, and close the loop."""
        if self._loop is not None and self._finalizer is not None:
            if self._task is not None:
                self._task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    self._loop.run_until_complete(self._task)
                self._task = None
            self._finalizer()
            self._loop = None

    def _next(self, poll_seconds: float) -> Any:
        loop = self._opened()
        if self._task is None:
            self._task = loop.create_task(self._step())
        loop.run_until_complete(asyncio.wait({self._task}, timeout=poll_seconds))
        if not self._task.done():
            return None
        task, self._task = self._task, None
        return task.result()

    async def _step(self) -> Any:
        if self._iterator is None:
            self._iterator = aiter(self._records)
        try:
            return await anext(self._iterator)
        except StopAsyncIteration:
            return _END

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._finalizer = weakref.finalize(self, _close, self._loop)
        return self._loop


def _close(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed() and not loop.is_running():
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
