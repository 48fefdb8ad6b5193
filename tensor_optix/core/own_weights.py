"""Weights that an agent writes and reads itself: whatever goes wrong there is told as a CheckpointError."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import ArchitectureMismatch, CheckpointError


def writing_weights(save_weights: Callable[[str], None]) -> Callable[[Path], None]:
    """``save_weights`` as an archive calls it."""

    def write(path: Path) -> None:
        try:
            save_weights(str(path))
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(path, f"save_weights failed: {type(error).__name__}: {error}") from error

    return write


@contextmanager
def loading_weights(agent: BaseAgent, path: str) -> Iterator[None]:
    """Around ``load_weights`` and its kind: errors name the agent, and say so if it may have come half way."""
    try:
        yield
    except Exception as error:
        name = type(agent).__name__
        where, reason = path, f"cannot be taken over by {name}: {type(error).__name__}: {error}"
        if isinstance(error, CheckpointError):
            where, reason = str(error.path), error.reason
        if agent.policy_state() is None:
            reason += f"; its weights may be half loaded, for {name} gives no policy_state to go back to"
        kind = ArchitectureMismatch if isinstance(error, ArchitectureMismatch) else CheckpointError
        raise kind(where, reason) from error
