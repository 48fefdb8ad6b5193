"""How fast does a live feed become transitions, and how much memory does a burst take?

    python benchmarks/live.py                about a minute
    python benchmarks/live.py 5000000        the soak of five million records with two hundred disconnects, instead

An agent that costs nothing acts, so that the figures are those of the feed: the reading thread, its checks, the
queue, and the rows of the windows. Processor time beside wall time, since other work on the machine changes only the
latter.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensor_optix import BaseAgent, HyperparamSet, LivePipeline, LiveSource

RECORDS = 100_000
BURST = 1_000_000


class IdleAgent(BaseAgent):
    """Action 0, at no cost."""

    def __init__(self) -> None:
        self.actions = np.zeros(1, dtype=np.int64)

    def act(self, observation: Any) -> int:
        return 0

    def act_batch(self, observations: Any, *, rng: Any, deterministic: bool = False) -> Any:
        return self.actions, {}

    def learn(self, episode_data: Any) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None: ...
    def save_weights(self, path: str) -> None: ...
    def load_weights(self, path: str) -> None: ...


def records(n: int) -> Iterator[Any]:
    observation = np.zeros(8, dtype=np.float32)
    for t in range(n):
        yield observation, 1.0, t % 200 == 199, False, {"t": t}


class Acting(LiveSource):
    """Waits for every action."""

    takes_actions = ends = True

    def stream(self, after: Any = None) -> Iterator[Any]:
        return records(RECORDS // 4)


class Burst(LiveSource):
    waits, ends = False, True

    def stream(self, after: Any = None) -> Iterator[Any]:
        return records(BURST)


class Unsteady(LiveSource):
    """Loses its connection every 25,000 records."""

    def __init__(self, n: int) -> None:
        self.n, self.sent = n, 0

    def stream(self, after: Any = None) -> Iterator[Any]:
        for number, record in enumerate(records(self.n - self.sent)):
            if number == 25_000:
                raise ConnectionError("lost")
            self.sent += 1
            yield record
        self.ends = True


def pipeline_on(source: Any, **settings: Any) -> LivePipeline:
    return LivePipeline(source, IdleAgent(), LivePipeline.every_n_steps(1000), sleep=lambda seconds: None, **settings)


def collect(name: str, source: Any, **settings: Any) -> None:
    pipeline = pipeline_on(source, **settings)
    wall, cpu = time.perf_counter(), time.process_time()
    rows = sum(window.length for window in pipeline.episodes())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    pipeline.teardown()
    print(f"{name:42s} {rows / wall:10,.0f} rows/s   {1e6 * cpu / rows:6.1f} µs of processor time a row")


def burst() -> None:
    pipeline = pipeline_on(Burst())
    before, cpu = resident_mb(), time.process_time()
    pipeline.start_reading()
    while pipeline.health["received"] < BURST:
        time.sleep(0.2)
    cpu = time.process_time() - cpu
    print(f"{'a burst of a million, nobody looking':42s} {1e6 * cpu / BURST:10.1f} µs a record, "
          f"{resident_mb() - before:.1f} MB more at its peak, {pipeline.health}")  # fmt: skip
    pipeline.teardown()


def soak(n: int) -> None:
    pipeline = pipeline_on(Unsteady(n))
    sizes, rows = [], 0
    for number, window in enumerate(pipeline.episodes()):
        rows += window.length
        if number % 100 == 0:
            sizes.append(resident_mb())
    pipeline.teardown()
    print(f"{rows} rows; peak memory after every 100 windows: {sizes[0]:.1f} ... {sizes[-1]:.1f} MB")
    print(pipeline.health)


def resident_mb() -> float:
    """The largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    cases: list[tuple[str, Callable[[], Any], dict[str, Any]]] = [
        ("an iterator", lambda: records(RECORDS), {}),
        ("an iterator, with keys", lambda: records(RECORDS), {"key": "t"}),
        ("an iterator, with keys and a window of 16", lambda: records(RECORDS), {"key": "t", "reorder_window": 16}),
        ("a source that waits for every action", Acting, {}),
    ]
    if len(sys.argv) > 1:
        soak(int(sys.argv[1]))
    else:
        burst()
        for name, source, settings in cases:
            collect(name, source(), **settings)
