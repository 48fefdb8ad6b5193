"""What runs in the process of one environment? A loop that does what it is told, and ends with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym

PARENT_POLL_SECONDS = 0.5
PR_SET_PDEATHSIG = 1


def main(connection: Connection, factory: Callable[[], Any], parent: int, is_tied: bool) -> None:
    """Build an environment, then answer requests ``(number, method, argument)`` until "close".

    Answers are ``(number, "done", result)`` or ``(number, "raised", (type, message, traceback))``. The first one,
    number 0, describes the environment. parent: its process id. is_tied: the kernel ends this process when the
    thread that started it ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _end_with(parent, is_tied)
    try:
        env = _answer(connection, 0, lambda: _built(factory), described)
        while env is not None:
            number, method, argument = connection.recv()
            _answer(connection, number, partial(_asked, env, method, argument), lambda result: result)
            if method == "close":
                return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has gone, or has given this process up
    finally:
        connection.close()


def described(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """What the parent has to know of an environment that it does not hold."""
    return {
        "observation_space": env.observation_space,
        "action_space": env.action_space,
        "name": env.spec.id if env.spec is not None else type(env.unwrapped).__name__,
        "max_episode_steps": env.spec.max_episode_steps if env.spec is not None else None,
    }


def _built(factory: Callable[[], Any]) -> Any:
    env = factory()
    if not isinstance(env, gym.Env):
        raise TypeError(f"env_fns must give a gymnasium.Env each, got {env!r}")
    return env


def _asked(env: gym.Env[Any, Any], method: str, argument: Any) -> Any:
    if method == "close":
        return env.close()
    return env.reset(seed=argument) if method == "reset" else env.step(argument)


def _answer(
    connection: Connection, number: int, act: Callable[[], Any], told: Callable[[Any], Any]
) -> Any:
    """Do it and say what came of it; None where it raised."""
    try:
        result = act()
        connection.send((number, "done", told(result)))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # noqa: BLE001 - it is the parent's to judge, whatever it is
        trouble = (type(error).__name__, str(error), traceback.format_exc())
        connection.send((number, "raised", trouble))
        return None
    return result


def _end_with(parent: int, is_tied: bool) -> None:
    """No orphan survives: by the kernel where it can (also in the middle of C code), by looking now and then."""
    if is_tied and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os._exit(1)
