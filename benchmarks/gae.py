"""What do advantages cost, by number of environments? Each form of the recursion, on the same rows.

    python benchmarks/gae.py        some seconds

Medians in milliseconds of ``compute_gae`` whole, on windows of steps x environments, one thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from tensor_optix.core import trajectory_buffer
from tensor_optix.core.trajectory_buffer import compute_gae

SHAPES = [(2048, 1), (256, 8), (256, 16), (256, 32), (1024, 128)]


def milliseconds(call: Callable[[], object], repeats: int = 30) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def measure(n_steps: int, n_envs: int) -> dict[str, float]:
    rng, n_rows = np.random.default_rng(0), n_steps * n_envs
    rewards, values, next_values = rng.normal(size=(3, n_rows))
    dones = rng.random(n_rows) < 0.02
    segments = [(start, start + n_steps) for start in range(0, n_rows, n_steps)]

    def gae() -> object:
        return compute_gae(rewards, values, dones, terminated=dones, next_values=next_values, segments=segments)

    found = {"chosen": milliseconds(gae)}
    chosen = trajectory_buffer.MANY_ENVS
    for name, many in {"Python floats": n_envs, "NumPy across envs": 0}.items():
        trajectory_buffer.MANY_ENVS = many
        found[name] = milliseconds(gae)
    trajectory_buffer.MANY_ENVS = chosen
    return found


if __name__ == "__main__":
    print(f"{'steps x envs':>14}{'chosen':>20}{'Python floats':>20}{'NumPy across envs':>20}")
    for shape in SHAPES:
        cells = "".join(f"{value:>20.2f}" for value in measure(*shape).values())
        print(f"{shape[0]:>8} x {shape[1]:<3}" + cells, flush=True)
