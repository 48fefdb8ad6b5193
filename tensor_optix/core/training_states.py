"""The newest complete training state of a run on disk: what an exact continuation needs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensor_optix.core.own_weights import writing_weights
from tensor_optix.core.state import join_state, split_state
from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem, SnapshotStore

PAUSE_SHARE = 50  # the next commit comes no earlier than 50 times what the last one took: 2 % of the time
WEIGHTS = "weights"
_log = logging.getLogger(__name__)


class TrainingStates:
    """Commits state trees to ``<run>/training/`` now and then, keeps the newest one, and reads it back."""

    def __init__(self, run_dir: Path, clock: Callable[[], float]) -> None:
        self._store = SnapshotStore(FileSystem(), run_dir / "training")
        self._clock = clock
        self._due_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """True when another commit would keep to its share of the time."""
        return self._clock() >= self._due_at

    def commit(self, state: Any, save_weights: Callable[[str], None] | None) -> int:
        """Store one state and then drop the older ones. Returns its generation.

        save_weights: of an agent that gives no state of its own.
        """
        started = self._clock()
        extra = None if save_weights is None else writing_weights(save_weights)
        tree, arrays = split_state(state)
        try:
            generation = self._store.commit(tree, arrays, {"kind": "training"}, extra)
            for older in self._store.generations():
                if older < generation:
                    self._store.remove(older)
        finally:  # a failed attempt costs time, too
            self._due_at = self._clock() + PAUSE_SHARE * (self._clock() - started)
        return generation

    def exists(self) -> bool:
        """True when there is anything to continue from."""
        return bool(self._store.generations())

    def newest(self) -> tuple[Any, str | None]:
        """``(state, path of the agent's own weights or None)`` of the newest sound one; damaged ones are put aside.

        Raises CheckpointError when there is none. For the writer of the run only.
        """
        problem = "holds no training state to continue from"
        for generation in reversed(self._store.generations()):
            try:
                archive = self._store.read(generation)
                weights = archive.directory / WEIGHTS
                state = join_state(archive.state, archive.arrays)
                return state, str(weights) if FileSystem().kind(weights) != "absent" else None
            except (CheckpointError, KeyError, TypeError) as error:
                problem = f"holds no sound training state: {error}"
                _log.warning("training state %d is damaged and not used: %s", generation, error)
                self._store.quarantine(generation)
        raise CheckpointError(self._store.directory, problem)

    def sweep(self) -> None:
        """Delete what a killed writer left half done."""
        self._store.sweep()
