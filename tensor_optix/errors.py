"""What can go wrong, as types: each message names the thing, the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class TensorOptixError(Exception):
    """Base of every error that the package raises on purpose. Its text may name files: it cannot steer a terminal."""

    def __str__(self) -> str:
        return "".join(_shown(character) for character in super().__str__())


class MissingDependency(TensorOptixError, ImportError):
    """An optional library is not installed; the message carries the line that installs it."""


class ConfigError(TensorOptixError, ValueError):
    """An argument, a hyperparameter or a combination of parts cannot work."""


class EnvError(TensorOptixError, RuntimeError):
    """An environment failed. ``env_index`` and ``step`` say which one and when; ``__cause__`` is its own error."""

    health_key = "env_failed"
    """How it is called where it is counted."""

    def __init__(self, message: str, *, env_index: int = 0, step: int | None = None) -> None:
        super().__init__(message)
        self.env_index = env_index
        self.step = step


class EnvWorkerDied(EnvError):
    """The process of an environment ended; ``exitcode`` as multiprocessing has it, negative for a signal."""

    health_key = "worker_died"

    def __init__(self, message: str, *, env_index: int = 0, exitcode: int | None = None) -> None:
        super().__init__(message, env_index=env_index)
        self.exitcode = exitcode


class EnvWorkerRaised(EnvError):
    """An environment in a process of its own raised; a note has the traceback of that process."""

    health_key = "worker_raised"


class EnvHangs(EnvError):
    """A reset or a step took too long, and was interrupted."""

    health_key = "env_hung"


class EnvWorkerHung(EnvHangs):
    """An environment in a process of its own did not answer in time, and was ended."""

    health_key = "worker_hung"


class LiveFeedError(TensorOptixError, RuntimeError):
    """A live feed cannot go on: its source failed, was away for too long, or sends what is no record."""


class TrialError(TensorOptixError, RuntimeError):
    """A search, or a population, cannot go on: something raised in a worker process, or the workers keep dying."""


class AgentError(TensorOptixError, RuntimeError):
    """An agent broke its contract (for example an action that the environment does not have)."""


class CheckpointError(TensorOptixError):
    """Something on disk is missing, damaged, foreign or not writable. ``path`` and ``reason`` say what."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class ArchitectureMismatch(CheckpointError, RuntimeError):
    """Stored weights belong to networks of other shapes; the message lists the layers that differ."""


class NonFiniteError(TensorOptixError, ArithmeticError):
    """A loss, a gradient or a weight became NaN or infinite."""


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character in "\n\r\t" else ascii(character)[1:-1]


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'learning_rate'?"`` when a known name is close to ``name``, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
