"""What does an env step cost, alone and with eight environments?

    python benchmarks/pipelines.py        about a minute; PyTorch for the lines that say so

CartPole-v1 through BatchPipeline and VectorBatchPipeline: time for a window, divided by its rows. "NumPy" acts as
built-in agents do with recognised networks; "framework" is a network that only PyTorch can evaluate, one call for
all environments (the case of convolutions, normalisation layers and subclasses of the user's own). The best of
windows that alternate between the pipelines, so that other load on the machine meets all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix import BaseAgent, BatchPipeline, EpisodeData, HyperparamSet, VectorBatchPipeline
from tensor_optix.core.rng import RandomStreams

N_ENVS = 8
ROWS = 2048
WINDOWS = 15
ENV_ID = "CartPole-v1"


class Acting(BaseAgent):
    """Samples from logits; learns nothing."""

    def logits(self, observations: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def act(self, observation: Any) -> int:
        actions, _ = self.act_batch(observation[None], rng=np.random.default_rng(0))
        return int(actions[0])

    def act_batch(
        self, observations: np.ndarray, *, rng: np.random.Generator, deterministic: bool = False
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        logits = self.logits(observations)
        return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1), {}

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None: ...
    def save_weights(self, path: str) -> None: ...
    def load_weights(self, path: str) -> None: ...


class NumPyActing(Acting):
    """4-64-64-2, tanh."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._layers = [rng.normal(0, 0.1, shape).astype(np.float32) for shape in ((4, 64), (64, 64), (64, 2))]

    def logits(self, observations: np.ndarray) -> np.ndarray:
        hidden = observations
        for layer in self._layers[:-1]:
            hidden = np.tanh(hidden @ layer)
        logits: np.ndarray = hidden @ self._layers[-1]
        return logits


class FrameworkActing(Acting):
    """The same size with normalisation layers, evaluated by PyTorch on one thread."""

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        layer = torch.nn.Linear
        self._torch = torch
        self._network = torch.nn.Sequential(
            layer(4, 64), torch.nn.LayerNorm(64), torch.nn.Tanh(),
            layer(64, 64), torch.nn.LayerNorm(64), torch.nn.Tanh(), layer(64, 2),
        ).eval()  # fmt: skip

    def logits(self, observations: np.ndarray) -> np.ndarray:
        with self._torch.inference_mode():
            logits: np.ndarray = self._network(self._torch.from_numpy(observations)).numpy()
        return logits


def windows(pipeline: BatchPipeline | VectorBatchPipeline) -> Iterator[EpisodeData]:
    pipeline.seed(RandomStreams(0))
    iterator = pipeline.episodes()
    next(iterator)  # builds the environments
    return iterator


def best(*iterators: Iterator[EpisodeData]) -> list[float]:
    """Microseconds an env step, of each."""
    seconds: list[list[float]] = [[] for _ in iterators]
    for _ in range(WINDOWS):
        for own, iterator in zip(seconds, iterators, strict=True):
            begun = time.perf_counter()
            window = next(iterator)
            own.append((time.perf_counter() - begun) / window.length)
    return [min(own) * 1e6 for own in seconds]


def forms(agent: Acting) -> dict[str, BatchPipeline | VectorBatchPipeline]:
    each = ROWS // N_ENVS
    sync = SyncVectorEnv([lambda: gym.make(ENV_ID)] * N_ENVS, autoreset_mode=AutoresetMode.DISABLED)
    return {
        "one environment": BatchPipeline(env_id=ENV_ID, agent=agent, window_size=ROWS),
        f"{N_ENVS} factories": VectorBatchPipeline([lambda: gym.make(ENV_ID)] * N_ENVS, agent, each),
        f"SyncVectorEnv x {N_ENVS}": VectorBatchPipeline(sync, agent, each),
        f"make_vec x {N_ENVS}": VectorBatchPipeline(gym.make_vec(ENV_ID, num_envs=N_ENVS), agent, each),
        f"{N_ENVS} processes": VectorBatchPipeline(env_id=ENV_ID, n_envs=N_ENVS, agent=agent, window_size=each,
                                                   async_envs=True),
    }  # fmt: skip


def main() -> None:
    print(f"{ENV_ID}, windows of {ROWS} rows, best of {WINDOWS}, us per env step (and times faster than one)")
    for name, agent in (("NumPy", NumPyActing()), ("framework", FrameworkActing())):
        pipelines = forms(agent)
        costs = best(*(windows(pipeline) for pipeline in pipelines.values()))
        for form, cost in zip(pipelines, costs, strict=True):
            print(f"  {name:10s} {form:20s} {cost:8.1f}   {costs[0] / cost:5.2f} x")
        for pipeline in pipelines.values():
            pipeline.teardown()


if __name__ == "__main__":
    main()
