"""How long does a commit hold up the training, and how long does loading take?

    python benchmarks/commit_cost.py [DIRECTORY]      about 20 seconds; DIRECTORY says which disk (default: temporary)

Commits as a run makes them: synced, hashed, the oldest of three pruned after each. The goal is a pause of at most
25 ms at 1 MB and 250 ms at 50 MB.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tensor_optix.storage import FileSystem, SnapshotStore

N_ARRAYS = 12


def measure(directory: Path, megabytes: int, n_commits: int) -> dict[str, list[float]]:
    """Milliseconds of each commit, prune and load."""
    rng = np.random.default_rng(0)
    size = megabytes * 1_000_000 // 4 // N_ARRAYS
    arrays = {f"layer-{n}": rng.standard_normal(size).astype(np.float32) for n in range(N_ARRAYS)}
    store = SnapshotStore(FileSystem(), directory / f"{megabytes}")
    taken: dict[str, list[float]] = {"commit": [], "prune": [], "load": []}
    for tick in range(n_commits):
        taken["commit"].append(milliseconds(lambda: store.commit({"tick": tick}, arrays, {})))  # noqa: B023
        oldest = store.generations()[0]
        if tick >= 3:
            taken["prune"].append(milliseconds(lambda: store.remove(oldest)))  # noqa: B023
        taken["load"].append(milliseconds(lambda: store.read(store.generations()[-1])))
    return taken


def milliseconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        for megabytes, n_commits in ((1, 200), (50, 30)):
            for what, times in measure(Path(scratch), megabytes, n_commits).items():
                median, worst = statistics.median(times), max(times)
                print(f"{what:7} {megabytes:3} MB  median {median:7.1f} ms  max {worst:7.1f} ms")
