"""What do replays cost: memory, adding, drawing, priorities? Beside plain arrays, a deque, and Stable-Baselines3.

    python benchmarks/replay.py [TRANSITIONS ...]        about a minute for the default, 100000 and 1000000

CartPole-like rows: 4 float32 observed, int8 actions; env episodes of 25 steps; windows of 64 steps from one
environment. Adding is what agents do: whole windows, divided by their rows ("push" and the others take them one by
one). Times are CPU time in microseconds, the least of repeats, one thread, so that other load counts little; memory
is what the process grew by. "x plain" divides "sample 64" by the same draw from five bare arrays, which are in the
memory of the same process and are measured in turn with it. Stable-Baselines3 where it is installed.
"""

from __future__ import annotations

import importlib.util
import resource
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


def microseconds(call: Callable[[], object], repeats: int = 30, calls: int = 50) -> float:
    return best_in_turn([call], repeats, calls)[0]


def best_in_turn(calls: list[Callable[[], object]], repeats: int = 30, n: int = 50) -> list[float]:
    """The least CPU time of a call, of each of ``calls``."""
    least = [float("inf")] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            start = time.process_time()
            for _ in range(n):
                call()
            least[number] = min(least[number], (time.process_time() - start) / n)
    return [seconds * 1e6 for seconds in least]


def megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def plain_sample(n: int, rng: np.random.Generator) -> Callable[[], object]:
    """A uniform draw without weights, n-step targets or episode ends: the least that any replay does."""
    observation, following = np.ones((n, 4), dtype=np.float32), np.ones((n, 4), dtype=np.float32)
    others = [np.ones(n, dtype=dtype) for dtype in (np.int8, np.float32, np.bool_)]

    def sample() -> list[np.ndarray]:
        rows = rng.integers(n, size=BATCH)
        return [observation.take(rows, axis=0), following.take(rows, axis=0), *(array.take(rows) for array in others)]

    return sample


def measure(n: int, alpha: float) -> dict[str, float]:
    """One buffer, filled with ``n`` transitions."""
    rng, numbers = np.random.default_rng(0), iter(range(10**9))
    buffer = ReplayBuffer(n, alpha=alpha)
    before = megabytes()
    for _ in range(n // WINDOW + 1):
        buffer.add(window(next(numbers)))
    buffer.sample(1, BATCH, rng=rng)  # with priorities this builds the tree
    grown = megabytes() - before
    adding = iter([window(next(numbers)) for _ in range(1000)])
    add = microseconds(lambda: buffer.add(next(adding)), 20)
    td_error = rng.random(BATCH)

    def sample_and_update() -> None:
        buffer.update_priorities(buffer.sample(1, BATCH, rng=rng)["index"], td_error)

    sample, plain = best_in_turn([lambda: buffer.sample(1, BATCH, rng=rng), plain_sample(n, rng)])
    return {
        "MB": grown,
        "add a transition": add / WINDOW,
        "sample 64": sample,
        "x plain": sample / plain,
        "sample 64, n = 3": microseconds(lambda: buffer.sample(1, BATCH, rng=rng, n_step=3)),
        "sample 32x64": microseconds(lambda: buffer.sample(FUSED, BATCH, rng=rng), calls=20),
        **({"sample + update 64": microseconds(sample_and_update)} if alpha else {}),
    }


def measure_push(n: int) -> dict[str, float]:
    """One transition at a time, through the interface for loops of one's own."""
    buffer, observation = PrioritizedReplayBuffer(n), np.zeros(4, dtype=np.float32)
    return {"add a transition": microseconds(lambda: buffer.push(observation, 0, 1.0, observation, False))}


def measure_stable_baselines3(n: int) -> dict[str, float]:
    from gymnasium.spaces import Box, Discrete
    from stable_baselines3.common.buffers import ReplayBuffer as TheirBuffer

    buffer = TheirBuffer(n, Box(-1, 1, (4,), np.float32), Discrete(2), device="cpu")
    observation, action, reward = np.zeros((1, 4), dtype=np.float32), np.zeros(1, dtype=np.int64), np.ones(1)
    before = megabytes()
    for step in range(n):
        observation[:] = step
        buffer.add(observation, observation, action, reward, reward == 0, [{}])
    grown = megabytes() - before
    sample, plain = best_in_turn([lambda: buffer.sample(BATCH), plain_sample(n, np.random.default_rng(0))])
    return {
        "MB": grown,
        "add a transition": microseconds(lambda: buffer.add(observation, observation, action, reward, reward == 0,
                                                            [{}])),
        "sample 64": sample,
        "x plain": sample / plain,
        "sample 32x64": microseconds(lambda: buffer.sample(BATCH * FUSED), calls=20),
    }  # fmt: skip


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

    drawing, plain = best_in_turn([lambda: sample(BATCH), plain_sample(n, rng)], 5, 5)
    return {
        "MB": grown,
        "add a transition": microseconds(lambda: rows.append(one)),
        "sample 64": drawing,
        "x plain": drawing / plain,
        "sample 32x64": microseconds(lambda: sample(BATCH * FUSED), 3, 1),
    }


VARIANTS: dict[str, Callable[[int], dict[str, float]]] = {
    "ReplayBuffer, uniform": lambda n: measure(n, 0.0),
    "ReplayBuffer, alpha 0.6": lambda n: measure(n, 0.6),
    "push, uniform": measure_push,
    "deque of tuples": measure_deque,
    **({"Stable-Baselines3": measure_stable_baselines3} if importlib.util.find_spec("stable_baselines3") else {}),
}


def main(sizes: list[int]) -> None:
    """Each variant runs in a process of its own, so that none grows into what another one gave back."""
    columns = ["MB", "add a transition", "sample 64", "x plain", "sample 64, n = 3", "sample 32x64",
               "sample + update 64"]  # fmt: skip
    print(f"{'':>24}{'rows':>9}" + "".join(f"{name:>19}" for name in columns))
    for n in sizes:
        for name in VARIANTS:
            command = [sys.executable, __file__, "--one", name, str(n)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = dict(line.split("\t") for line in told.splitlines())
            cells = "".join(f"{found.get(column, '-'):>19}" for column in columns)
            print(f"{name:>24}{n:>9}" + cells, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        for key, value in VARIANTS[sys.argv[2]](int(sys.argv[3])).items():
            print(f"{key}\t{value:.1f}")
    else:
        main([int(size) for size in sys.argv[1:]] or [100_000, 1_000_000])
