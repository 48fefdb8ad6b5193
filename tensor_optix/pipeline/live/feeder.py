"""Who asks the source, and what happens when it is lost?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.errors import LiveFeedError
from tensor_optix.pipeline.live.feed_buffer import FeedBuffer
from tensor_optix.pipeline.live.reconnecting import Outage
from tensor_optix.pipeline.live.record import Key, MalformedRecord, RecordReader
from tensor_optix.pipeline.live.source import GAP, BadItem, LiveSource, Positioned

STOP_SECONDS = 0.4
"""How long a source may take to notice that it is not asked any more, before it is interrupted."""
LOSSES: tuple[type[Exception], ...] = (OSError, EOFError)
_END = object()


@dataclass(frozen=True)
class ConnectionRules:
    """What is done about a lost connection.

    reconnects: False: a source that ends, ends the feed, and a connection that breaks is an error.
    max_outage: seconds without a record after which the feed is given up; idle_timeout: seconds of silence on a
    standing connection. sleep: waits; None: on the clock of the system, until the feeder is stopped.
    """

    clock: Callable[[], float]
    reconnects: bool = True
    max_outage: float | None = None
    idle_timeout: float | None = None
    losses: tuple[type[Exception], ...] = LOSSES
    sleep: Callable[[float], None] | None = None


class Feeder:
    """A thread that reads the source into the buffer, from ``start`` to ``stop``; both may follow each other again."""

    def __init__(
        self,
        source: LiveSource,
        reader: RecordReader,
        buffer: FeedBuffer,
        rules: ConnectionRules,
        rng: np.random.Generator,
    ) -> None:
        self._source = source
        self._reader = reader
        self._buffer = buffer
        self._rules = rules
        self.rng = rng
        self._thread: threading.Thread | None = None
        self._outage = Outage()
        self._silent_since: float | None = None
        self._asked_at: float | None = None
        self._is_interrupted = False

    def start(self) -> None:
        """Read from now on. A thread that is still blocked in a source that cannot be interrupted reads on."""
        if self._buffer.reopen():
            return
        if not self._source.keeps_place:
            self._mark_break()
        self._outage = Outage()
        self._thread = threading.Thread(target=self._run, name="live feed", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """Read no more; True when the thread has ended, False when its source blocks it and cannot be interrupted."""
        self._buffer.stop()
        thread = self._thread
        if thread is None:
            return True
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            self._interrupt()
            thread.join(STOP_SECONDS)
        return not thread.is_alive()

    def check_silence(self) -> None:
        """Interrupt a source that has not answered for too long. For the consumer, while it waits."""
        asked_at, limit = self._asked_at, self._rules.idle_timeout
        if limit is not None and asked_at is not None and self._rules.clock() - asked_at > limit:
            self._asked_at = None
            self._buffer.count("idle_timeouts")
            self._interrupt()

    def _interrupt(self) -> None:
        self._is_interrupted = True
        with suppress(Exception):  # a half-closed connection may say anything; its reader will tell
            self._source.interrupt()

    # -- in the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._feed()
        except LiveFeedError as error:
            self._buffer.fail(error)
        except BaseException as error:  # noqa: BLE001 - whatever a source raises surfaces where the loop sees it
            name = self._source.description
            failure = LiveFeedError(
                f"the live feed {name} raised {type(error).__name__}: {error}. Mend it; or, if this means that the "
                "connection was lost, add the type to disconnect_errors"
            )
            failure.__cause__ = error
            self._buffer.fail(failure)

    def _feed(self) -> None:
        while self._buffer.goes_on():
            loss = self._read_connection()
            if not self._buffer.goes_on():
                return
            if loss is None and (self._source.ends or not self._rules.reconnects):
                self._buffer.finish()
                return
            self._wait_after(loss)

    def _read_connection(self) -> Exception | None:
        """Until it ends; the error where it was lost."""
        iterator: Iterator[Any] | None = None
        try:
            iterator = iter(self._source.stream(self._after()))
            while self._buffer.wait_for_room():
                self._asked_at = self._rules.clock()
                item = next(iterator, _END)
                self._asked_at, self._is_interrupted = None, False
                if item is _END:
                    return None
                self._handle(item)
        except self._rules.losses as error:
            return error
        except Exception as error:
            if self._is_interrupted:  # by us: closing it under the reader's hands may raise anything
                return error
            raise
        finally:
            self._asked_at, self._is_interrupted, self._silent_since = None, False, None
            if isinstance(iterator, Generator):
                iterator.close()
        return None

    def _handle(self, item: Any) -> None:
        if item is None:
            self._check_heartbeat()
            return
        self._silent_since = None
        if self._outage.failures:
            self._outage = Outage()
            self._buffer.count("reconnects")
        if item is GAP:
            self._buffer.mark_gap()
        elif isinstance(item, BadItem):
            self._buffer.reject(item.item, MalformedRecord(item.reason, item.detail))
        else:
            self._read(item)

    def _read(self, item: Any) -> None:
        position, item = (item.position, item.item) if isinstance(item, Positioned) else (None, item)
        try:
            record = self._reader.read(item)
        except MalformedRecord as problem:
            self._buffer.reject(item, problem)
            return
        # records that change places would leave in another order than that of the source's own positions
        is_own_usable = position is not None and not (self._buffer.reorders and record.key is not None)
        record.position = position if is_own_usable else (None if position is not None else record.key)
        self._buffer.offer(record)

    def _check_heartbeat(self) -> None:
        now, limit = self._rules.clock(), self._rules.idle_timeout
        if self._silent_since is None:
            self._silent_since = now
        elif limit is not None and now - self._silent_since > limit:
            self._buffer.count("idle_timeouts")
            raise TimeoutError(f"silent for {now - self._silent_since:.3g} seconds")

    def _after(self) -> Key | None:
        return self._buffer.received_position if self._source.can_seek else None

    def _mark_break(self) -> None:
        """A new connection that cannot go on behind the last record leaves a gap."""
        if self._buffer.received and (not self._source.can_seek or self._buffer.received_position is None):
            self._buffer.mark_gap()

    def _wait_after(self, loss: Exception | None) -> None:
        if not self._rules.reconnects:
            raise LiveFeedError(
                f"the live feed {self._source.description} was lost ({_told(loss)}); "
                "reconnect_on_disconnect=True would connect again"
            ) from loss
        self._buffer.count("disconnects")
        self._mark_break()
        now, limit = self._rules.clock(), self._rules.max_outage
        self._outage = self._outage.after_failure(now)
        delay = self._outage.delay(self.rng)
        if limit is not None:
            left = limit - self._outage.seconds(now)
            if left <= 0:
                raise LiveFeedError(
                    f"the live feed {self._source.description} has been away for {self._outage.seconds(now):.3g} "
                    f"seconds and {self._outage.failures} attempts, and max_outage is {limit:g} (the last one: "
                    f"{_told(loss)})"
                ) from loss
            delay = min(delay, left)
        if self._rules.sleep is not None:
            self._rules.sleep(delay)
        else:
            self._buffer.wait_for_stop(delay)


def _told(loss: Exception | None) -> str:
    return "it ended" if loss is None else f"{type(loss).__name__}: {loss}"
