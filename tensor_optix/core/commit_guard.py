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
    """Counts failed commits in ``health``; the third one in a row surfaces."""

    def __init__(self) -> None:
        self.health: Counter[str] = Counter()
        self._in_a_row = 0

    def attempt(self, commit: Callable[[], _Result]) -> _Result | None:
        """What ``commit`` returns, or None when it failed; what was committed before is untouched then."""
        try:
            result = commit()
        except CheckpointError as error:
            self._in_a_row += 1
            self.health["commits_failed"] += 1
            if self._in_a_row >= MAX_FAILURES_IN_A_ROW:
                raise
            _log.warning("a commit failed, training goes on: %s", error)
            return None
        self._in_a_row = 0
        return result
