"""Feeds whose every record is known, a clock that only moves when it is told to, and agents that remember."""

import threading
import time

import numpy as np
from pipeline_agents import ConstantAgent

from tensor_optix.pipeline.live import LiveSource


def record(t, reward=None, /, *, terminated=False, truncated=False, **info):
    """Record number ``t``: its observation and, unless given, its reward are ``t``."""
    return np.array([t], dtype=np.float32), float(t if reward is None else reward), terminated, truncated, info


class CountingAgent(ConstantAgent):
    """Its n-th action is n."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def act(self, observation):
        self.seen.append(float(observation[0]))
        return len(self.seen) - 1


class FakeClock:
    """Seconds that pass only in ``sleep``, which returns at once."""

    def __init__(self):
        self.now = 0.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class ScriptedFeed(LiveSource):
    """One list for each connection. An exception in it is raised, a function called, anything else is yielded.

    After the last list the feed has ended.
    """

    def __init__(self, *connections, waits=True):
        self.connections = list(connections)
        self.waits = waits
        self.asked_after = []

    def stream(self, after=None):
        self.asked_after.append(after)
        if not self.connections:
            self.ends = True
            return
        for item in self.connections.pop(0):
            if isinstance(item, BaseException):
                raise item
            yield item() if callable(item) else item


class SeekableFeed(LiveSource):
    """Records 1 to ``n``, each with the key ``t``; can be asked to go on behind any of them."""

    ends = True
    can_seek = True

    def __init__(self, n):
        self.n = n

    def stream(self, after=None):
        for t in range(1 + (after or 0), self.n + 1):
            yield record(t, t=t)


class SilentFeed:
    """Blocks for ever after its records, until it is closed."""

    def __init__(self, records=()):
        self.records = records
        self.closed = threading.Event()

    def stream(self):
        yield from self.records
        self.closed.wait()
        raise OSError("closed")

    def close(self):
        self.closed.set()


def balance(health):
    """What the accounting equation must make zero."""
    parts = ("delivered", "dropped_overflow", "dropped_duplicate", "dropped_late", "rejected_malformed", "in_queue")
    return health["received"] - sum(health[part] for part in parts)


def wait_until(condition, seconds=10.0):
    """Return as soon as ``condition()`` holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)
