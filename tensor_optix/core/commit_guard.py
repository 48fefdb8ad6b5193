"""Goes on when a commit fails (a full disk may be freed again), but not for ever."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from tensor_optix.errors import CheckpointError

MAX_FAILURES_IN_A_ROW = 3

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class CommitGuard:
    """Counts failed commits in ``health``. One surfaces when it is the third in a row, or when commits of its kind
    have kept failing for ``max_unsaved_minutes`` (None: however long).

    clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float], max_unsaved_minutes: float | None) -> None:
        self.health: Counter[str] = Counter()
        self._clock = clock
        self._max_unsaved_seconds = float("inf") if max_unsaved_minutes is None else 60 * max_unsaved_minutes
        self._in_a_row = 0
        self._failing_since: dict[str, float] = {}

    def attempt(self, commit: Callable[[], _Result], kind: str) -> _Result | None:
        """What ``commit`` returns, or None when it failed; what was committed before is untouched then.

        kind: what is committed, such as "snapshot". That a small one still finds its place does not help a large one.
        """
        try:
            result = _told_of_memory(commit, kind)
        except CheckpointError as error:
            self._count(error, kind)
            _log.warning("a commit failed, training goes on: %s", error)
            return None
        self._in_a_row = 0
        self._failing_since.pop(kind, None)
        return result

    def _count(self, error: CheckpointError, kind: str) -> None:
        """Raises the error when it has been enough."""
        self.health["commits_failed"] += 1
        self._in_a_row += 1
        now = self._clock()
        unsaved_seconds = now - self._failing_since.setdefault(kind, now)
        if unsaved_seconds >= self._max_unsaved_seconds:
            reason = f"{error.reason} (no {kind} could be committed for {unsaved_seconds / 60:.0f} minutes)"
            raise CheckpointError(error.path, reason) from error
        if self._in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise error


def _told_of_memory(commit: Callable[[], _Result], kind: str) -> _Result:
    try:
        return commit()
    except MemoryError as error:
        raise CheckpointError(kind, "could not be committed: out of memory; free some memory") from error
