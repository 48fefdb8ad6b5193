"""What becomes of records that arrive faster than they are used?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import replace

from tensor_optix.errors import ConfigError, nearest
from tensor_optix.pipeline.live.record import Record


class Overflow(ABC):
    """Asked when a record comes to a full queue. What is not in the queue afterwards is lost, and counted.

    waits: the source is asked for nothing while the queue is full, so that nothing is ever lost.
    """

    waits = False

    @abstractmethod
    def admit(self, queue: deque[Record], record: Record) -> bool:
        """Change the full queue; True when the next record to come follows a gap."""


class Block(Overflow):
    """The source waits. For sources that can: iterators, files, standard input."""

    waits = True

    def admit(self, queue: deque[Record], record: Record) -> bool:
        """Records that were held back for their order may come all at once: they are kept, above the limit."""
        queue.append(record)
        return False


class DropOldest(Overflow):
    """The oldest queued record goes: what is newest can be had at once."""

    def admit(self, queue: deque[Record], record: Record) -> bool:
        queue.popleft()
        queue.append(record)
        queue[0].gap = True
        return False


class DropNewest(Overflow):
    """The record that has just come goes."""

    def admit(self, queue: deque[Record], record: Record) -> bool:
        return True


class Coalesce(Overflow):
    """The record that has just come takes the place of the last queued one, and their rewards add up.

    Nothing is missing between the record before them and the sum: the action chosen there is credited with both
    rewards. An env episode's end and a gap are kept apart; then the oldest record goes.
    """

    def admit(self, queue: deque[Record], record: Record) -> bool:
        last = queue[-1]
        if last.done or record.gap:
            return DropOldest().admit(queue, record)
        queue[-1] = replace(record, reward=last.reward + record.reward, gap=last.gap)
        return False


def overflow_named(name: str) -> Overflow:
    """The policy that a user calls ``name``. Raises ConfigError."""
    known: dict[str, type[Overflow]] = {
        "block": Block, "drop_oldest": DropOldest, "drop_newest": DropNewest, "coalesce": Coalesce,
    }  # fmt: skip
    if name not in known:
        raise ConfigError(f"overflow must be one of {', '.join(known)}, got {name!r}.{nearest(str(name), known)}")
    return known[name]()
