"""How many env steps PPO makes in a second on JAX, learning included, and how often it compiles.

CartPole-v1, 1 environment, windows of 2048, minibatches of 64, 10 epochs, 64x64 tanh, one thread. Whole windows by
``BatchPipeline``: env, acting and learning. Every window has other hyperparameters, as under a tuner. CPU time,
medians. PyTorch beside it in the same interleaved run.

    python benchmarks/speed_flax.py [rounds]
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import gymnasium as gym
import numpy as np
import optax
import torch
from flax import nnx
from torch import nn

from tensor_optix.algorithms.flax_ppo import FlaxPPOAgent
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.core.types import HyperparamSet
from tensor_optix.pipeline.batch_pipeline import BatchPipeline

WINDOW = 2048
PPOAgent = FlaxPPOAgent | TorchPPOAgent


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    start = time.process_time()
    agent = flax_agent()
    contestants = {"JAX": windows(agent), "PyTorch": windows(torch_agent())}
    splits: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(rounds + 2):
        for name, one_window in contestants.items():
            split = one_window(number)
            if name == "JAX" and number == 0:
                print(f"JAX: first window learned after {time.process_time() - start:.1f} s of CPU time, from nothing")
            if number > 1:  # the first windows warm up
                splits[name].append(split)
    for name, measured in splits.items():
        rates = [WINDOW / (acting + learning) for acting, learning in measured]
        acting, learning = (statistics.median(column) / WINDOW * 1e6 for column in zip(*measured, strict=True))
        print(f"{name:8s}{statistics.median(rates):8.0f} env steps/s   [{min(rates):.0f} - {max(rates):.0f}]   "
              f"collect {acting:.1f} us, learn {learning:.1f} us a step")  # fmt: skip
    programs = {key[0]: program._cache_size() for key, program in agent._learner._compiled.items()  # type: ignore
                if key[0] != "forward"}  # fmt: skip
    print(f"compiled in {rounds + 2} windows with changing hyperparameters: {programs}")


def windows(agent: PPOAgent) -> Callable[[int], tuple[float, float]]:
    """One window: the CPU seconds to collect it and to learn from it."""
    agent.seed(np.random.default_rng(0))
    pipeline = BatchPipeline(gym.make("CartPole-v1"), agent, WINDOW)
    pipeline.setup()
    source = pipeline.episodes()

    def one_window(number: int) -> tuple[float, float]:
        start = time.process_time()
        window = next(source)
        middle = time.process_time()
        tuned = {"learning_rate": 3e-4 * 1.01**number, "clip_ratio": 0.2 + 0.001 * number}
        agent.set_hyperparams(HyperparamSet(tuned))
        agent.learn(window)
        return middle - start, time.process_time() - middle

    return one_window


def flax_agent() -> FlaxPPOAgent:
    def dense(n_outputs: int, seed: int) -> nnx.Module:
        rngs = nnx.Rngs(seed)
        return nnx.Sequential(nnx.Linear(4, 64, rngs=rngs), nnx.tanh, nnx.Linear(64, 64, rngs=rngs), nnx.tanh,
                              nnx.Linear(64, n_outputs, rngs=rngs))  # fmt: skip

    return FlaxPPOAgent(dense(2, 0), dense(1, 1), optax.adam(3e-4), HyperparamSet({}))


def torch_agent() -> TorchPPOAgent:
    def dense(n_outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, n_outputs))

    actor, critic = dense(2), dense(1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4)
    return TorchPPOAgent(actor, critic, optimizer, HyperparamSet({}), device="cpu")


if __name__ == "__main__":
    main()
