"""What stands between the thread that reads a feed and the one that acts, and where is every record that came?

    received = delivered + dropped_overflow + dropped_duplicate + dropped_late + rejected_malformed + in_queue

holds whenever anybody looks: each change of one side and the other happens under one lock.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Any

from tensor_optix.errors import ConfigError, LiveFeedError
from tensor_optix.pipeline.live.key_order import KeyOrder, Verdict
from tensor_optix.pipeline.live.overflow import Overflow
from tensor_optix.pipeline.live.record import Key, MalformedRecord, Record
from tensor_optix.pipeline.live.rejections import KEPT_BYTES, Rejections

ACCOUNTED = ("delivered", "dropped_overflow", "dropped_duplicate", "dropped_late", "rejected_malformed")
EVENTS = ("gaps", "disconnects", "reconnects", "idle_timeouts", "lost_at_resume", "lost_by_source")
MAX_EQUAL_KEYS = 256
"""So many records with the key of the last one are told apart after a resume."""
_COUNTED_AS = {Verdict.DUPLICATE: "dropped_duplicate", Verdict.LATE: "dropped_late"}


class FeedBuffer:
    """A bounded queue of records, between one feeding and one consuming thread.

    is_lock_step: the feeder asks the source only while the consumer is waiting for a record, so that a source that
    reacts to actions has got the last one.
    """

    def __init__(self, maxsize: int, overflow: Overflow, order: KeyOrder, *, is_lock_step: bool = False) -> None:
        if isinstance(maxsize, bool) or not isinstance(maxsize, int) or maxsize < 1:
            raise ConfigError(f"buffer_size must be a whole number of at least 1, got {maxsize!r}")
        self.maxsize = maxsize
        self.rejections = Rejections()
        self.delivered_position: Key | None = None
        self.received_position: Key | None = None
        self._delivered_key: Key | None = None
        self._delivered_digests: deque[str] = deque(maxlen=MAX_EQUAL_KEYS)
        self._order = order
        self._overflow = overflow
        self._is_lock_step = is_lock_step
        self._queue: deque[Record] = deque()
        self._counts: Counter[str] = Counter()
        self._follows_gap = False
        self._is_wanted = False
        self._is_stopping = self._is_leaving = self.is_finished = False
        self._has_feeder = False
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._changed_for_consumer = threading.Condition(self._lock)
        self._changed_for_feeder = threading.Condition(self._lock)

    # -- the feeding thread ------------------------------------------------------------------------------------

    def wait_for_room(self) -> bool:
        """Until the source may be asked for a record; False when it is not to be asked any more."""
        with self._lock:
            while not (self._has_room() or self._is_stopping):
                self._changed_for_feeder.wait()
            return not self._is_stopping

    def wait_for_stop(self, seconds: float) -> None:
        """Until ``stop`` is called, or for so many seconds."""
        with self._lock:
            self._changed_for_feeder.wait_for(lambda: self._is_stopping, seconds)

    def goes_on(self) -> bool:
        """False when the feeder has to leave; it must do so then."""
        with self._lock:
            self._has_feeder = not self._is_stopping
            return self._has_feeder

    def offer(self, record: Record) -> None:
        """A record has arrived."""
        with self._lock:
            self._counts["received"] += 1
            record.number = self._counts["received"]
            self.received_position = record.position if record.position is not None else self.received_position
            if self._follows_gap:
                record.gap = True
            verdict, leaving = self._order.offer(record)
            if verdict is Verdict.KEY_NOT_UNIQUE:
                self._refuse(record.key, MalformedRecord("key_not_unique", f"another record has the key {record.key}"))
                return
            self._follows_gap = self._follows_gap and verdict is not Verdict.TAKEN
            self.rejections.accepted()
            if verdict is not Verdict.TAKEN:
                self._counts[_COUNTED_AS[verdict]] += 1
            for each in leaving:
                self._admit(each)

    def reject(self, item: Any, problem: MalformedRecord) -> None:
        """Something arrived that is no record: what it should have said is missing. Raises LiveFeedError."""
        with self._lock:
            self._counts["received"] += 1
            self._refuse(item, problem)

    def mark_gap(self) -> None:
        """Something is missing before the next record; what was held back for its order can leave."""
        with self._lock:
            self._mark_gap()
            self._release()

    def count(self, event: str, n: int = 1) -> None:
        """Note something that happened to the feed."""
        with self._lock:
            self._counts[event] += n

    def finish(self) -> None:
        """Nothing more will come."""
        with self._lock:
            self._release()
            self.is_finished, self._has_feeder = True, False
            self._changed_for_consumer.notify_all()

    def fail(self, error: Exception) -> None:
        """Nothing more can come, because of ``error``."""
        with self._lock:
            self._release()
            self._failure, self._has_feeder = error, False
            self._changed_for_consumer.notify_all()

    # -- the consuming thread ----------------------------------------------------------------------------------

    def take(self, timeout: float) -> Record | None:
        """The next record; None where none comes within ``timeout`` seconds, or none will. Raises LiveFeedError."""
        with self._lock:
            if not self._queue:
                self._is_wanted = True
                self._changed_for_feeder.notify()
                if self.is_waiting_worthwhile:
                    self._changed_for_consumer.wait(timeout)
            if self._queue:
                return self._pop()
            if self._failure is not None:  # behind the records that came before it
                raise self._failure
            return None

    def take_at_once(self) -> Record | None:
        """The next record if it is here already."""
        with self._lock:
            return self._pop() if self._queue else None

    def take_unless_gap(self) -> Record | None:
        """The next record if it is here already, and nothing is missing before it."""
        with self._lock:
            return self._pop() if self._queue and not self._queue[0].gap else None

    @property
    def is_waiting_worthwhile(self) -> bool:
        """False when nothing more will come, or the consumer was asked to leave."""
        return not (self.is_finished or self._is_leaving or self._failure)

    @property
    def is_leaving(self) -> bool:
        """True once ``leave`` was called."""
        return self._is_leaving

    @property
    def is_exhausted(self) -> bool:
        """True when the last record has been taken and no other will come."""
        with self._lock:
            return self.is_finished and not self._queue

    @property
    def received(self) -> int:
        """How many records have arrived so far."""
        return self._counts["received"]

    # -- both, and others --------------------------------------------------------------------------------------

    def reopen(self) -> bool:
        """What was asked, failed or ended before is forgotten; True when a feeder is still there to go on."""
        with self._lock:
            has_feeder, self._has_feeder = self._has_feeder, True
            self._is_stopping = self.is_finished = self._is_wanted = False
            self._failure = None
            return has_feeder

    def leave(self) -> None:
        """The consumer is to wait no longer."""
        with self._lock:
            self._is_leaving = True
            self._changed_for_consumer.notify_all()

    def stay(self) -> None:
        """The consumer may wait again."""
        with self._lock:
            self._is_leaving = False

    def stop(self) -> None:
        """The source is not to be asked any more. What is queued stays."""
        with self._lock:
            self._is_stopping = True
            self._changed_for_feeder.notify_all()

    @property
    def reorders(self) -> bool:
        """True when records may change places."""
        return self._order.window > 0

    @property
    def health(self) -> dict[str, int]:
        """Where every record is that came, and what happened to the feed."""
        with self._lock:
            names = ("received", *ACCOUNTED)
            events = {name: self._counts[name] for name in EVENTS if self._counts[name]}
            return {**{name: self._counts[name] for name in names}, "in_queue": self._in_queue(), **events}

    def state_dict(self) -> dict[str, Any]:
        """Counters and the place in the feed. Records that wait are part of no state: they are asked for again."""
        with self._lock:
            return {
                "counts": {name: self._counts[name] for name in ("received", *ACCOUNTED, *EVENTS)},
                "in_queue": self._in_queue(),
                "position": self.delivered_position,
                "key": self._delivered_key,
                "digests": list(self._delivered_digests),
                "rejections": self.rejections.state_dict(),
            }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken, with an empty queue."""
        with self._lock:
            self._queue.clear()
            self._counts = Counter(state["counts"])
            self._counts["received"] -= state["in_queue"]  # they did not get as far as this
            self.delivered_position = self.received_position = state["position"]
            self._delivered_key = state["key"]
            self._delivered_digests.extend(state["digests"])
            self._order.restart(self._delivered_key, self._delivered_digests)
            self.rejections.load_state_dict(state["rejections"])

    # -- under the lock ----------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        if not self._overflow.waits:
            return True
        return self._is_wanted if self._is_lock_step else len(self._queue) < self.maxsize

    def _in_queue(self) -> int:
        return len(self._queue) + self._order.held

    def _mark_gap(self) -> None:
        if not self._follows_gap:
            self._counts["gaps"] += 1
        self._follows_gap = True

    def _admit(self, record: Record) -> None:
        before = len(self._queue)
        if before < self.maxsize:
            self._queue.append(record)
        else:
            if self._overflow.admit(self._queue, record):
                self._mark_gap()
            self._counts["dropped_overflow"] += before + 1 - len(self._queue)
        self._is_wanted = False
        self._changed_for_consumer.notify()

    def _release(self) -> None:
        for record in self._order.flush():
            self._admit(record)

    def _refuse(self, item: Any, problem: MalformedRecord) -> None:
        self._counts["rejected_malformed"] += 1
        self._mark_gap()
        self.rejections.refused(item, problem)
        if self.rejections.is_alarming:
            sample = self.rejections.samples[0][:KEPT_BYTES]
            raise LiveFeedError(
                f"more than half of the last 100 records were refused ({dict(self.rejections.by_reason)}); the first "
                f"one: {sample}. Mend the feed, or the source that reads it"
            )

    def _pop(self) -> Record:
        record = self._queue.popleft()
        self._counts["delivered"] += 1
        if record.position is not None:
            self.delivered_position = record.position
        if record.key is not None:
            if record.key != self._delivered_key:
                self._delivered_digests.clear()
            self._delivered_key = record.key
            self._delivered_digests.append(record.digest)
        self._changed_for_feeder.notify()
        return record
