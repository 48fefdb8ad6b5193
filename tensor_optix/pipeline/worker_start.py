"""How does the process of one environment come into being?"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from gymnasium.vector.utils import CloudpickleWrapper

from tensor_optix.errors import ConfigError
from tensor_optix.pipeline import worker_process

_starting = threading.Lock()


def started(factory: Callable[[], Any], index: int) -> tuple[Connection, SpawnProcess]:
    """A process that builds an environment, and the line to it. Raises ConfigError."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    is_tied = threading.current_thread() is threading.main_thread()  # the kernel's tie is to the thread
    arguments = (theirs, CloudpickleWrapper(factory), os.getpid(), is_tied)
    process = context.Process(target=worker_process.main, args=arguments, name=f"environment {index}", daemon=True)
    try:
        with _starting, _apart_from_main(), _interrupts_held_back():
            process.start()
    except Exception as error:
        ours.close()
        raise ConfigError(
            f"the factory of environment {index} cannot be sent to a process of its own ({type(error).__name__}: "
            f"{error}): build everything inside the factory, or use async_envs=False"
        ) from error
    finally:
        theirs.close()
    return ours, process


@contextmanager
def _apart_from_main() -> Iterator[None]:
    """The new process need not run the user's script: what the factory takes from there is sent by value.

    So a script without ``if __name__ == "__main__":`` works, which multiprocessing would start again and again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl+C does not end a process before it has said that it leaves that to its parent."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
