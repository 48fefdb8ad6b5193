"""Who runs the trials, and trains a population: this process, or several of its own.

A cluster engine would be a third class here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import cloudpickle

from tensor_optix.errors import TrialError

Task = Callable[[], None]
"""Works until nothing is left to do. Several may work at once."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MAX_DEATHS = 3
"""So many dead workers a seat are replaced before the work is given up."""


class Workers(ABC):
    """How a task is carried out."""

    @abstractmethod
    def run(self, task: Task) -> None:
        """Return when the task has returned everywhere. Raises what it raised."""

    @abstractmethod
    def map(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """``function`` of every item, in their order. Raises what it raised.

        It may be kept, with whatever it remembers, for further calls with the same function.
        """

    def close(self) -> None:
        """Let go of what ``map`` has kept. Default: nothing is."""

    @property
    def health(self) -> dict[str, int]:
        """What was repaired so far, counted by name. Default: nothing is."""
        return {}


class InThisProcess(Workers):
    """One worker: the caller."""

    def run(self, task: Task) -> None:
        task()

    def map(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        return [function(item) for item in items]


class Processes(Workers):
    """``n`` processes, started by spawn; the task travels by cloudpickle, so that lambdas may be in it.

    A worker that dies is replaced. What it was doing for ``run`` is the task's to notice; what it was doing for
    ``map`` is done again from the beginning. An error in one ends all.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.deaths = 0
        self._crew: list[_Helper] = []
        self._function: object = None

    @property
    def health(self) -> dict[str, int]:
        """``workers_died``."""
        return {"workers_died": self.deaths}

    def map(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        if self._function is not function:
            self.close()
            payload, context = cloudpickle.dumps(function), multiprocessing.get_context("spawn")
            self._crew, self._function = [_Helper(context, payload) for _ in range(min(self.n, len(items)))], function
        try:
            return self._shared_out(items)
        except BaseException:
            self.close()  # an answer that is under way would be taken for another one
            raise

    def close(self) -> None:
        """End the processes of ``map``."""
        for helper in self._crew:
            helper.end()
        self._crew, self._function = [], None

    def _shared_out(self, items: Sequence[Any]) -> list[Any]:
        todo, answers = deque(range(len(items))), dict[int, Any]()
        while len(answers) < len(items):
            for helper in self._crew:
                if helper.item is None and todo:
                    number = todo.popleft()
                    helper.give(number, items[number])
            busy = [helper for helper in self._crew if helper.item is not None]
            wait([door for helper in busy for door in (helper.connection, helper.process.sentinel)])
            for helper in busy:
                if (answer := helper.answer()) is not None:
                    answers[answer[0]] = answer[1]
                elif helper.is_dead and helper.item is not None:
                    todo.appendleft(helper.item)
                    self._count_death(helper.process.exitcode)
                    helper.start()
        return [answers[number] for number in range(len(items))]

    def _count_death(self, exitcode: int | None) -> None:
        self.deaths += 1
        if self.deaths > MAX_DEATHS * self.n:
            raise TrialError(f"workers died {self.deaths} times, the last with exit code {exitcode}")

    def run(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        payload = cloudpickle.dumps(task)
        seats = [_Seat(context, payload) for _ in range(self.n)]
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
        self._count_death(seat.process.exitcode)
        seat.start()
        return True


class _Seat:
    """A place for one worker process, and its replacements."""

    def __init__(self, context: Any, payload: bytes) -> None:
        self._context, self._payload = context, payload
        self.start()

    def start(self) -> None:
        self._outcome, child = self._context.Pipe(duplex=False)
        self.process = self._context.Process(target=_work, args=(self._payload, child, os.getpid()))
        self.process.start()
        child.close()

    def error(self) -> str | None:
        """The traceback that the worker left, if it did."""
        try:
            return str(self._outcome.recv()) if self._outcome.poll() else None
        except EOFError:
            return None

    def end(self) -> None:
        _ended(self.process)


class _Helper:
    """A process that answers one question after the other with the same function, and its replacements.

    item: the number of the one that it is at; None while it has nothing to do.
    """

    def __init__(self, context: Any, payload: bytes) -> None:
        self._context, self._payload = context, payload
        self.start()

    def start(self) -> None:
        self.item: int | None = None
        self.is_dead = False
        self.connection, child = self._context.Pipe()
        self.process = self._context.Process(target=_serve, args=(self._payload, child, os.getpid()))
        self.process.start()
        child.close()

    def give(self, number: int, item: Any) -> None:
        """Have it work on this item."""
        self.item = number
        try:
            self.connection.send_bytes(cloudpickle.dumps(item))
        except OSError:
            self.is_dead = True

    def answer(self) -> tuple[int, Any] | None:
        """``(number, answer)`` once there is one. Raises TrialError with the traceback that it left."""
        assert self.item is not None, "only a helper that has something to do is asked"
        try:
            if self.is_dead or not self.connection.poll():
                self.is_dead = self.is_dead or not self.process.is_alive()
                return None
            error, answer = cloudpickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.is_dead = True
            return None
        if error:
            raise TrialError(f"a worker process failed:\n{error}")
        number, self.item = self.item, None
        return number, answer

    def end(self) -> None:
        self.connection.close()
        _ended(self.process)


def _ended(process: Any) -> None:
    process.terminate()
    process.join(5)
    if process.is_alive():
        process.kill()
        process.join()


def _serve(payload: bytes, connection: Connection, parent: int) -> None:
    """A helper's process: ends with its parent. An interrupt of the keyboard is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    function = cloudpickle.loads(payload)
    while True:
        try:
            item = cloudpickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = ("", function(item))
        except Exception:  # noqa: BLE001  whatever it is, the parent has to tell
            answer = (traceback.format_exc(), None)
        connection.send_bytes(cloudpickle.dumps(answer))


def _work(payload: bytes, outcome: Connection, parent: int) -> None:
    """A worker process: ends with its parent, and leaves a traceback where the task failed."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        cloudpickle.loads(payload)()
    except Exception:  # noqa: BLE001  whatever it is, the parent has to tell
        outcome.send(traceback.format_exc())


def _end_with(parent: int) -> None:
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(0.5)
    os._exit(1)
