"""What must a live feed offer, and how is everything else that yields records seen as one?"""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tensor_optix.errors import ConfigError
from tensor_optix.pipeline.live.async_reader import AsyncReader
from tensor_optix.pipeline.live.record import Key

POLL_SECONDS = 0.1
"""A source says at least this often that it has nothing, so that it can be stopped."""


class _Gap:
    """See ``GAP``."""

    def __repr__(self) -> str:
        return "GAP"


GAP = _Gap()
"""A source yields it where something is missing."""


@dataclass(frozen=True, slots=True)
class Positioned:
    """A record, and what the source can be asked to go on after."""

    position: Key
    item: Any


@dataclass(frozen=True, slots=True)
class BadItem:
    """Something that could not even be read. reason: a word by which it is counted; item: what had arrived."""

    reason: str
    detail: str
    item: Any


class LiveSource(ABC):
    """Where records come from. ``stream`` runs in a thread of its own, everything else in the caller's.

    waits: nothing is lost when it is asked late, so it is (a file); False for what comes of its own accord.
    ends: when ``stream`` returns nothing more will come; otherwise the connection was lost.
    keeps_place: another ``stream()`` goes on where the last one was left.
    can_seek: ``stream(after=position)`` goes on behind that record.
    takes_actions: ``act`` has an effect.
    idle_timeout: a connection that is silent for so many seconds is taken for lost. None: silence is normal.
    """

    waits = True
    ends = False
    keeps_place = False
    can_seek = False
    takes_actions = False
    idle_timeout: float | None = None

    @abstractmethod
    def stream(self, after: Key | None = None) -> Iterator[Any]:
        """Connect, and yield records for as long as the connection lasts.

        A record is ``(observation, reward, terminated, truncated, info)``, or a table with these entries. None says
        that there is nothing just now (or a heartbeat), ``GAP`` that something is missing. A connection that is
        lost or refused raises OSError or EOFError, or returns.
        """

    def act(self, action: Any) -> None:
        """Take the action for the record that was delivered last. Default: the world does not listen."""

    def interrupt(self) -> None:
        """End a ``stream`` that is blocked, from another thread; it may raise anything then. Default: cannot."""

    @property
    def description(self) -> str:
        """What this is, in a few words for people."""
        return type(self).__name__


@runtime_checkable
class Streams(Protocol):
    """The published form of a data source."""

    def stream(self) -> Any:
        """An iterable or an async iterable of records."""


@runtime_checkable
class Acts(Protocol):
    """A source that takes actions."""

    def act(self, action: Any) -> Any:
        """Take the action for the record that was delivered last."""


@runtime_checkable
class Resumes(Protocol):
    """A source that can go on behind a record."""

    def resume_from(self, key: Any) -> Any:
        """The next ``stream()`` begins behind the record with this key."""


@runtime_checkable
class Closes(Protocol):
    """A source that can be closed from another thread."""

    def close(self) -> Any:
        """End a blocked ``stream``."""


def as_source(data_source: Any) -> LiveSource:
    """``data_source`` as a LiveSource. Raises ConfigError that lists what it may be."""
    if isinstance(data_source, LiveSource):
        return data_source
    if isinstance(data_source, Streams):
        return PublishedSource(data_source)
    if isinstance(data_source, AsyncIterable):
        return AsyncSource(data_source)
    if isinstance(data_source, Iterable) and not isinstance(data_source, str | bytes | Mapping):
        return IteratorSource(data_source)
    if callable(data_source):
        return CallableSource(data_source)
    raise ConfigError(
        "data_source must be a LiveSource, an object with stream(), an iterable, an async iterable or a function, "
        f"got {type(data_source).__name__}"
    )


class IteratorSource(LiveSource):
    """Anything that can be iterated over, once; its end is the end of the feed."""

    ends = True
    keeps_place = True

    def __init__(self, records: Iterable[Any]) -> None:
        self._records = records
        self._iterator = iter(records)

    def stream(self, after: Key | None = None) -> Iterator[Any]:
        for item in self._iterator:  # noqa: UP028 - "yield from" would close the caller's generator with us
            yield item

    @property
    def description(self) -> str:
        return f"{type(self._records).__name__} of records"


class AsyncSource(LiveSource):
    """An async iterable, once, on an event loop of its own; its end is the end of the feed."""

    ends = True
    keeps_place = True

    def __init__(self, records: AsyncIterable[Any]) -> None:
        self._records = records
        self._reader = AsyncReader(records)

    def stream(self, after: Key | None = None) -> Iterator[Any]:
        return self._reader.items(POLL_SECONDS)

    @property
    def description(self) -> str:
        return f"{type(self._records).__name__} of records"


class CallableSource(LiveSource):
    """A function without arguments: it gives an iterable for every connection, or one record for every call.

    In the second form None says that there is nothing new, and StopIteration that there will never be.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def stream(self, after: Key | None = None) -> Iterator[Any]:
        first = self._function()
        if _is_connection(first):
            yield from connection(first)
            return
        yield from _polled(first)
        while True:
            try:
                item = self._function()
            except StopIteration:
                self.ends = True
                return
            yield from _polled(item)

    @property
    def description(self) -> str:
        return f"function {function_name(self._function)}"


class PublishedSource(LiveSource):
    """An object with ``stream()``, and perhaps ``act(action)``, ``resume_from(key)`` and ``close()``.

    ``stream(after=key)`` serves in place of ``resume_from``.
    """

    def __init__(self, wrapped: Streams) -> None:
        self._wrapped = wrapped
        self._takes_after = "after" in inspect.signature(wrapped.stream).parameters
        self._last: Any = None
        self.can_seek = self._takes_after or isinstance(wrapped, Resumes)
        self.takes_actions = isinstance(wrapped, Acts)

    def stream(self, after: Key | None = None) -> Iterator[Any]:
        opened = self._open(after)
        if opened is self._last:  # an iterator that ended has no second beginning
            self.ends = True
            return
        self._last = opened if isinstance(opened, Iterator) else None
        yield from connection(opened)

    def act(self, action: Any) -> None:
        if isinstance(self._wrapped, Acts):
            self._wrapped.act(action)

    def interrupt(self) -> None:
        if isinstance(self._wrapped, Closes):
            self._wrapped.close()

    @property
    def description(self) -> str:
        return type(self._wrapped).__name__

    def _open(self, after: Key | None) -> Any:
        if after is not None and self._takes_after:
            return self._wrapped.stream(after=after)  # type: ignore[call-arg]
        if after is not None and isinstance(self._wrapped, Resumes):
            self._wrapped.resume_from(after)
        return self._wrapped.stream()


def connection(opened: Any) -> Iterator[Any]:
    """The items of an iterable or an async iterable."""
    if isinstance(opened, AsyncIterable):
        reader = AsyncReader(opened)
        try:
            yield from reader.items(POLL_SECONDS)
        finally:
            reader.close()
        return
    if not isinstance(opened, Iterable):
        raise ConfigError(f"stream() must return an iterable or an async iterable, got {type(opened).__name__}")
    yield from opened


def function_name(function: Callable[[], Any]) -> str:
    """What a function is called."""
    return function.__name__ if inspect.isroutine(function) else type(function).__name__


def _is_connection(first: Any) -> bool:
    if isinstance(first, tuple | Mapping | str | bytes):
        return False
    return isinstance(first, Iterable | AsyncIterable)


def _polled(item: Any) -> Iterator[Any]:
    yield item
    if item is None:
        time.sleep(POLL_SECONDS)
