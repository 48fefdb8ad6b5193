"""What do replays cost: memory, adding, drawing, priorities? Beside a deque of tuples, the plain way.

    python benchmarks/replay.py [TRANSITIONS ...]        about a minute for the default, 100000 and 1000000

CartPole-like rows: 4 float32 observed, int8 actions; env episodes of 25 steps; windows of 64 steps from one
environment. Times are medians in microseconds, one thread; memory is what the process grew by.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tensor_optix.core.replay_buffer import PrioritizedReplayBuffer, ReplayBuffer
from tensor_optix.core.types import EpisodeData

BATCH, WINDOW, EPISODE, FUSED = 64, 64, 25, 32


def window(number: int) -> EpisodeData:
    """64 steps; an env episode ends wherever its count of steps says so."""
    steps = np.arange(number * WINDOW, (number + 1) * WINDOW)
    observations = np.repeat(steps[:, None], 4, axis=1).astype(np.float32)
    terminated = (steps % EPISODE == EPISODE - 1).tolist()
    ends = [row for row, ended in enumerate(terminated) if ended or row == WINDOW - 1]
    return EpisodeData(
        observations, (steps % 2).astype(np.int8), [1.0] * WINDOW, terminated, [False] * WINDOW, [{}] * WINDOW, 0,
        final_observations={row: observations[row] + 1 for row in ends},
    )  # fmt: skip


def microseconds(call: Callable[[], object], repeats: int = 300) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(n: int, alpha: float) -> dict[str, float]:
    """One buffer, filled with ``n`` transitions."""
    rng, numbers = np.random.default_rng(0), iter(range(10**9))
    buffer = ReplayBuffer(n, alpha=alpha)
    before = megabytes()
    for _ in range(n // WINDOW + 1):
        buffer.add(window(next(numbers)))
    buffer.sample(1, BATCH, rng=rng)  # with priorities this builds the tree
    grown = megabytes() - before
    ready = [window(next(numbers)) for _ in range(300)]
    adding = iter(ready)
    add = microseconds(lambda: buffer.add(next(adding)))
    td_error = rng.random(BATCH)

    def sample_and_update() -> None:
        buffer.update_priorities(buffer.sample(1, BATCH, rng=rng)["index"], td_error)

    return {
        "MB": grown,
        "add a transition": add / WINDOW,
        "sample 64": microseconds(lambda: buffer.sample(1, BATCH, rng=rng)),
        "sample 64, n = 3": microseconds(lambda: buffer.sample(1, BATCH, rng=rng, n_step=3)),
        "sample 32x64": microseconds(lambda: buffer.sample(FUSED, BATCH, rng=rng)),
        **({"sample + update 64": microseconds(sample_and_update)} if alpha else {}),
    }


def measure_push(n: int) -> dict[str, float]:
    """One transition at a time, through the interface for loops of one's own."""
    buffer, observation = PrioritizedReplayBuffer(n), np.zeros(4, dtype=np.float32)
    push = microseconds(lambda: buffer.push(observation, 0, 1.0, observation, False), 2000)
    return {"add a transition": push}


def measure_deque(n: int) -> dict[str, float]:
    rng, rows = np.random.default_rng(0), deque[tuple[np.ndarray, int, float, np.ndarray, bool]](maxlen=n)
    before = megabytes()
    for step in range(n):
        observation = np.full(4, step, dtype=np.float32)
        rows.append((observation, step % 2, 1.0, observation, step % EPISODE == EPISODE - 1))
    grown, one = megabytes() - before, rows[0]

    def sample(n_rows: int) -> list[np.ndarray]:
        drawn = [rows[i] for i in rng.integers(len(rows), size=n_rows)]
        return [np.array(column) for column in zip(*drawn, strict=True)]

    return {
        "MB": grown,
        "add a transition": microseconds(lambda: rows.append(one)),
        "sample 64": microseconds(lambda: sample(BATCH), 50),
        "sample 32x64": microseconds(lambda: sample(BATCH * FUSED), 10),
    }


VARIANTS: dict[str, Callable[[int], dict[str, float]]] = {
    "ReplayBuffer, uniform": lambda n: measure(n, 0.0),
    "ReplayBuffer, alpha 0.6": lambda n: measure(n, 0.6),
    "push, uniform": measure_push,
    "deque of tuples": measure_deque,
}


def main(sizes: list[int]) -> None:
    """Each variant runs in a process of its own, so that none grows into what another one gave back."""
    columns = ["MB", "add a transition", "sample 64", "sample 64, n = 3", "sample 32x64", "sample + update 64"]
    print(f"{'':>24}{'rows':>9}" + "".join(f"{name:>20}" for name in columns))
    for n in sizes:
        for name in VARIANTS:
            command = [sys.executable, __file__, "--one", name, str(n)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = dict(line.split("\t") for line in told.splitlines())
            cells = "".join(f"{found.get(column, '-'):>20}" for column in columns)
            print(f"{name:>24}{n:>9}" + cells, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        for key, value in VARIANTS[sys.argv[2]](int(sys.argv[3])).items():
            print(f"{key}\t{value:.1f}")
    else:
        main([int(size) for size in sys.argv[1:]] or [100_000, 1_000_000])
