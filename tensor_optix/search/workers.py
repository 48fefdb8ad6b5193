"""Who runs the trials: this process, or several of its own. A cluster engine would be a third class here."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import cloudpickle

from tensor_optix.errors import TrialError
from tensor_optix.search.study import Lock

Task = Callable[[Lock], None]
"""Works until nothing is left to do. Several may work at once; the lock is one for all of them."""

MAX_DEATHS = 3
"""So many dead workers a seat are replaced before the search gives up."""


class Workers(ABC):
    """How a task is carried out."""

    @abstractmethod
    def run(self, task: Task) -> None:
        """Return when the task has returned everywhere. Raises what it raised."""


class InThisProcess(Workers):
    """One worker: the caller."""

    def run(self, task: Task) -> None:
        task(threading.Lock())


class Processes(Workers):
    """``n`` processes, started by spawn; the task travels by cloudpickle, so that lambdas may be in it.

    A worker that dies is replaced; what it was doing is the study's to notice. An error in one ends all.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.deaths = 0

    def run(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        payload, starting = cloudpickle.dumps(task), context.Lock()
        seats = [_Seat(context, payload, starting) for _ in range(self.n)]
        try:
            while seats:
                wait([seat.process.sentinel for seat in seats])
                seats = [seat for seat in seats if self._goes_on(seat)]
        finally:
            for seat in seats:
                seat.end()

    def _goes_on(self, seat: _Seat) -> bool:
        """True while the seat has a worker; a dead one has been replaced."""
        if seat.process.is_alive():
            return True
        error = seat.error()
        if error is not None:
            raise TrialError(f"a trial failed in a worker process:\n{error}")
        if seat.process.exitcode == 0:
            return False
        self.deaths += 1
        if self.deaths > MAX_DEATHS * self.n:
            raise TrialError(f"workers died {self.deaths} times, the last with exit code {seat.process.exitcode}")
        seat.start()
        return True


class _Seat:
    """A place for one worker process, and its replacements."""

    def __init__(self, context: Any, payload: bytes, starting: Any) -> None:
        self._context, self._payload, self._starting = context, payload, starting
        self.start()

    def start(self) -> None:
        self._outcome, child = self._context.Pipe(duplex=False)
        self.process = self._context.Process(target=_work, args=(self._payload, self._starting, child, os.getpid()))
        self.process.start()
        child.close()

    def error(self) -> str | None:
        """The traceback that the worker left, if it did."""
        try:
            return str(self._outcome.recv()) if self._outcome.poll() else None
        except EOFError:
            return None

    def end(self) -> None:
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _work(payload: bytes, starting: Any, outcome: Connection, parent: int) -> None:
    """A worker process: ends with its parent, and leaves a traceback where the task failed."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        cloudpickle.loads(payload)(starting)
    except Exception:  # noqa: BLE001  whatever it is, the parent has to tell
        outcome.send(traceback.format_exc())


def _end_with(parent: int) -> None:
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(0.5)
    os._exit(1)
