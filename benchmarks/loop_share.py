"""How much of the speed of bare collecting and learning does the whole loop keep?

    python benchmarks/loop_share.py [--backends torch jax tf] [--rounds 3] [--steps 40000]     about 2 minutes

PPO on CartPole-v1 with 8 environments: windows that are collected and learned from, and nothing else, against the
same agent in RLOptimizer with all that it does by default (scores, tuner, convergence, snapshots, events, weight
average). All epochs are made, whatever the KL divergence, so that both do the same work. By turns, in one process
with one thread; env steps per second of CPU time, from the second window to the last one (what comes after that is
evaluation, of which the bare loop has none).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from statistics import median

import gymnasium as gym
import numpy as np

from tensor_optix import LoopCallback, RLOptimizer, VectorBatchPipeline, quick

N_ENVS, WINDOW = 8, 256


class Stopwatch(LoopCallback):
    """CPU seconds from the end of the first window to the end of the last one."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_episode_end(self, episode_id, eval_metrics):
        self.ends.append(time.process_time())

    @property
    def rate(self) -> float:
        """Env steps a second."""
        return (len(self.ends) - 1) * N_ENVS * WINDOW / (self.ends[-1] - self.ends[0])


def parts(backend, seed):
    agent, _ = quick.plan("CartPole-v1", "ppo", backend, seed=seed, target_kl=0.0).parts()
    return agent, VectorBatchPipeline(lambda: gym.make("CartPole-v1"), agent, WINDOW, n_envs=N_ENVS)


def bare(backend, n_windows, seed):
    agent, pipeline = parts(backend, seed)
    agent.seed(np.random.default_rng(seed))
    pipeline.setup()
    watch, windows = Stopwatch(), pipeline.episodes()
    for _ in range(n_windows):
        agent.learn(next(windows))
        watch.on_episode_end(0, None)
    pipeline.teardown()
    return watch.rate


def in_loop(backend, n_windows, seed):
    agent, pipeline = parts(backend, seed)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        RLOptimizer(agent, pipeline, callbacks=[watch], checkpoint_dir=folder, max_episodes=n_windows, seed=seed,
                    evaluation_episodes=1).run()  # fmt: skip
    return watch.rate


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["torch", "jax", "tf"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40_000)
    arguments = parser.parse_args()
    n_windows = arguments.steps // (N_ENVS * WINDOW)
    for backend in arguments.backends:
        in_loop(backend, 3, 0)  # compiles
        pairs = [[run(backend, n_windows, seed) for run in (bare, in_loop)] for seed in range(arguments.rounds)]
        rates = [median(side) for side in zip(*pairs, strict=True)]
        share = median(whole / alone for alone, whole in pairs)
        print(f"{backend:6s} bare {rates[0]:8,.0f} steps/s   whole loop {rates[1]:8,.0f} steps/s   ratio {share:.2f}")


if __name__ == "__main__":
    main()
