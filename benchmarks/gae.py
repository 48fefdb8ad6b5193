"""What do advantages cost, by number of environments? Each form of the recursion, on the same rows.

    python benchmarks/gae.py        some seconds

CPU time in milliseconds, the least of repeats, one thread, on windows of steps x environments: ``compute_gae`` whole,
beside a plain loop over the rows, and Stable-Baselines3's rollout buffer where it is installed.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import numpy as np

from tensor_optix.core import trajectory_buffer
from tensor_optix.core.trajectory_buffer import compute_gae

SHAPES = [(2048, 1), (256, 8), (256, 16), (256, 32), (1024, 128)]


def milliseconds(call: Callable[[], object], repeats: int = 30) -> float:
    least = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        call()
        least = min(least, time.process_time() - start)
    return least * 1e3


def plain_loop(
    rewards: np.ndarray, values: np.ndarray, next_values: np.ndarray, dones: np.ndarray, n_steps: int
) -> np.ndarray:
    """The equations, row by row; every done row is terminal here."""
    advantages, following = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        is_last = (t + 1) % n_steps == 0
        delta = rewards[t] + 0.99 * (1 - dones[t]) * next_values[t] - values[t]
        following = delta + 0.99 * 0.95 * (1 - dones[t]) * (0.0 if is_last else following)
        advantages[t] = following
    return advantages


def stable_baselines3(n_steps: int, n_envs: int) -> Callable[[], object]:
    import torch
    from gymnasium.spaces import Box, Discrete
    from stable_baselines3.common.buffers import RolloutBuffer

    buffer = RolloutBuffer(n_steps, Box(-1, 1, (1,), np.float32), Discrete(2), "cpu", 0.95, 0.99, n_envs)
    last = torch.zeros(n_envs, 1)
    return lambda: buffer.compute_returns_and_advantage(last, np.zeros(n_envs))


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
    found["a plain loop"] = milliseconds(lambda: plain_loop(rewards, values, next_values, dones, n_steps), 5)
    if importlib.util.find_spec("stable_baselines3"):
        found["Stable-Baselines3"] = milliseconds(stable_baselines3(n_steps, n_envs))
    return found


if __name__ == "__main__":
    for shape in SHAPES:
        found = measure(*shape)
        if shape == SHAPES[0]:
            print(f"{'steps x envs':>14}" + "".join(f"{name:>20}" for name in found))
        print(f"{shape[0]:>8} x {shape[1]:<3}" + "".join(f"{value:>20.2f}" for value in found.values()), flush=True)
