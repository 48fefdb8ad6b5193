"""How many env steps PPO and DQN make in a second with Keras networks, learning included, and how often they compile.

CartPole-v1 through BatchPipeline, one thread, CPU time, medians. PPO: windows of 2048, minibatches of 64, 10 epochs,
64x64 tanh, with another learning rate and clip ratio in every window (as a tuner would change them). DQN: windows of
32 steps with 32 updates of 64 rows each, 64x64 relu. The rival is Stable-Baselines3 where it is installed, else a
plain PyTorch loop in its style, in the same interleaved run (see ``ppo_throughput.py``).

    python benchmarks/speed_tf.py [rounds]
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from ppo_throughput import WINDOW, plain_loop, sb3

from tensor_optix import BatchPipeline, HyperparamSet
from tensor_optix.algorithms.tf_dqn import TFDQNAgent
from tensor_optix.algorithms.tf_networks import use_one_thread
from tensor_optix.algorithms.tf_ppo import TFPPOAgent
from tensor_optix.backends.tf_import import keras
from tensor_optix.core.base_agent import BaseAgent

BURST = 32


class Contestant:
    """Collects and learns a window at a time; ``act`` and ``learn`` hold the CPU seconds of each."""

    def __init__(self, agent: BaseAgent, window: int, windows_a_round: int) -> None:
        self.agent, self.window, self.n = agent, window, windows_a_round
        self._windows = BatchPipeline(env_id="CartPole-v1", agent=agent, window_size=window).episodes()
        self.collect_seconds, self.learn_seconds, self.first_seconds = 0.0, 0.0, 0.0

    def __call__(self) -> None:
        for _ in range(self.n):
            start = time.process_time()
            data = next(self._windows)
            middle = time.process_time()
            self.agent.learn(data)
            self.learn_seconds += time.process_time() - middle
            self.collect_seconds += middle - start


class Tuned(Contestant):
    """PPO whose hyperparameters change in every window."""

    def __call__(self) -> None:
        for _ in range(self.n):
            before = self.agent.get_hyperparams().params
            rate = 1e-4 if before["learning_rate"] >= 1e-3 else before["learning_rate"] * 1.1
            self.agent.set_hyperparams(HyperparamSet({"learning_rate": rate, "clip_ratio": 0.1 + 100 * rate}))
            windows, self.n = self.n, 1
            super().__call__()
            self.n = windows


def network(n_outputs: int, activation: str) -> keras.Sequential:
    layers = keras.layers
    return keras.Sequential([layers.Input((4,)), layers.Dense(64, activation), layers.Dense(64, activation),
                             layers.Dense(n_outputs)])  # fmt: skip


def ppo() -> Contestant:
    agent = TFPPOAgent(network(2, "tanh"), network(1, "tanh"), keras.optimizers.Adam(3e-4), HyperparamSet({}))
    agent.seed(np.random.default_rng(0))
    return Tuned(agent, WINDOW, 1)


def dqn() -> Contestant:
    params = {"learning_rate": 1e-3, "batch_size": 64, "epsilon": 0.1, "target_update_freq": 500}
    agent = TFDQNAgent(network(2, "relu"), 2, keras.optimizers.Adam(1e-3), HyperparamSet(params))
    agent.seed(np.random.default_rng(0))
    return Contestant(agent, BURST, WINDOW // BURST)


def main() -> None:
    use_one_thread()
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    name, rival = ("Stable-Baselines3 PPO", sb3) if importlib.util.find_spec("stable_baselines3") else (
        "plain PyTorch PPO in the style of SB3", plain_loop
    )  # fmt: skip
    ours = {"TensorFlow PPO": ppo(), "TensorFlow DQN, 32 updates fused": dqn()}
    contestants: dict[str, Callable[[], object]] = {**ours, name: rival()}
    rates: dict[str, list[float]] = {label: [] for label in contestants}
    for number in range(rounds + 1):
        for label, one_round in contestants.items():
            start = time.process_time()
            one_round()
            seconds = time.process_time() - start
            if number:
                rates[label].append(WINDOW / seconds)
            elif label in ours:
                ours[label].first_seconds = seconds
                ours[label].collect_seconds = ours[label].learn_seconds = 0.0
    for label, values in rates.items():
        print(f"{label:42s}{statistics.median(values):8.0f} env steps/s   [{min(values):.0f} - {max(values):.0f}]")
    for label, one in ours.items():
        steps = rounds * WINDOW
        print(f"{label:42s}collect {1e6 * one.collect_seconds / steps:.1f} us, learn "
              f"{1e6 * one.learn_seconds / steps:.1f} us a step; first {WINDOW} steps {one.first_seconds:.1f} s; "
              f"traced {one.agent._tf_learner.n_traces} time(s)")  # fmt: skip
    ratios = [a / b for a, b in zip(rates["TensorFlow PPO"], rates[name], strict=True)]
    print(f"PPO ratio {statistics.median(ratios):.1f}   (must 15, goal 23 beside SB3)")


if __name__ == "__main__":
    main()
