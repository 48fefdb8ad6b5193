"""In which order do records with sequence keys leave, and which of them do not?

A record whose key and content were seen already is a duplicate; one that comes after a later key has left is late.
Both are dropped. Up to ``reorder_window`` records are held back, so that one that comes that many records late still
takes its place. Equal keys with different content leave in the order of arrival, unless keys are to be unique.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from tensor_optix.errors import ConfigError
from tensor_optix.pipeline.live.record import Key, Record

MIN_REMEMBERED = 256
"""So many records that have passed are remembered at least, to tell a duplicate from a late one."""


class Verdict(Enum):
    """What becomes of a record that has arrived."""

    TAKEN = auto()
    DUPLICATE = auto()
    LATE = auto()
    KEY_NOT_UNIQUE = auto()


class KeyOrder:
    """Sorts within a window, by key. Records without keys pass through as they come."""

    def __init__(self, reorder_window: int = 0, *, unique: bool = False) -> None:
        if isinstance(reorder_window, bool) or not isinstance(reorder_window, int) or reorder_window < 0:
            raise ConfigError(f"reorder_window must be a whole number of at least 0, got {reorder_window!r}")
        self.window = reorder_window
        self._unique = unique
        self._held: list[tuple[Any, int, Record]] = []  # a heap: key, then arrival
        self._last_key: Key | None = None
        self._recent: deque[tuple[Key, str]] = deque()
        self._digests: dict[Key, list[str]] = {}

    @property
    def held(self) -> int:
        """How many records are held back."""
        return len(self._held)

    def offer(self, record: Record) -> tuple[Verdict, list[Record]]:
        """The verdict on ``record``, and the records that leave now, in order."""
        if record.key is None:
            return Verdict.TAKEN, [*self.flush(), record]
        record.digest = digest_of(record)
        verdict = self._verdict(record.key, record.digest)
        if verdict is not Verdict.TAKEN:
            return verdict, []
        self._remember(record.key, record.digest)
        if not self.window:
            self._last_key = record.key
            return verdict, [record]
        heapq.heappush(self._held, (record.key, record.number, record))
        return verdict, [self._pop()] if len(self._held) > self.window else []

    def flush(self) -> list[Record]:
        """Everything that is held back, in order."""
        return [self._pop() for _ in range(len(self._held))]

    def restart(self, last_key: Key | None, digests: Iterable[str]) -> None:
        """Go on as if the record with this key, and those contents, had been the last to leave."""
        self._held, self._recent, self._digests = [], deque(), {}
        self._last_key = last_key
        if last_key is not None:
            for digest in digests:
                self._remember(last_key, digest)

    def _pop(self) -> Record:
        record = heapq.heappop(self._held)[2]
        self._last_key = record.key
        return record

    def _verdict(self, key: Key, digest: str) -> Verdict:
        known = self._digests.get(key, ())
        if digest in known:
            return Verdict.DUPLICATE
        if known and self._unique:
            return Verdict.KEY_NOT_UNIQUE
        is_late = self._last_key is not None and key < self._last_key  # type: ignore[operator]
        return Verdict.LATE if is_late else Verdict.TAKEN

    def _remember(self, key: Key, digest: str) -> None:
        self._digests.setdefault(key, []).append(digest)
        self._recent.append((key, digest))
        if len(self._recent) > max(MIN_REMEMBERED, 2 * self.window + 1):
            oldest, forgotten = self._recent.popleft()
            self._digests[oldest].remove(forgotten)
            if not self._digests[oldest]:
                del self._digests[oldest]


def digest_of(record: Record) -> str:
    """What two records with the same content have in common."""
    content = hashlib.blake2b(record.observation.tobytes(), digest_size=8)
    content.update(repr((record.reward, record.terminated, record.truncated, record.info)).encode())
    return content.hexdigest()
