"""Requests to end a run: ``stop()`` from any thread, SIGINT and SIGTERM, seen by the loop as one question."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tensor_optix.core.types import StopReason

_REASONS = {signal.SIGINT: StopReason.INTERRUPTED, signal.SIGTERM: StopReason.TERMINATED}


class WindowAbandoned(BaseException):
    """A signal arrived while nothing was happening that must be finished.

    Not an Exception, so that no ``except Exception`` of an environment or an agent can swallow it.
    """


class StopRequests:
    """Holds the first request; a second signal ends the process at once (KeyboardInterrupt)."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._by_signal = False
        self._may_leave = False

    @property
    def by_signal(self) -> bool:
        """True once a signal has arrived."""
        return self._by_signal

    def request(self) -> None:
        """Ask for an end after the current window."""
        self.reason = self.reason or StopReason.STOPPED

    def clear(self) -> None:
        """Forget the request: a new ``run()`` may begin."""
        self.reason, self._by_signal = None, False

    @contextmanager
    def leaving_at_once(self) -> Iterator[None]:
        """Around collecting and evaluating, which a signal may leave at any instant by WindowAbandoned."""
        if self._by_signal:
            raise WindowAbandoned
        self._may_leave = True
        try:
            yield
        finally:
            self._may_leave = False

    @contextmanager
    def watching_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM here; the handlers that were there before return afterwards.

        Outside the main thread Python delivers no signals: nothing is installed then.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _REASONS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._by_signal:
            raise KeyboardInterrupt
        self._by_signal = True
        self.reason = _REASONS[signal.Signals(number)]
        if self._may_leave:
            raise WindowAbandoned
