"""What does an env step cost, alone and with eight environments?

    python benchmarks/pipelines.py [numpy torch jax tf]        about a minute for the default, numpy and torch

CartPole-v1 through BatchPipeline and VectorBatchPipeline: time for a window, divided by its rows. "numpy" acts as
built-in agents do with recognised networks; the others are a network that only the framework can evaluate, one call
for all environments (the case of convolutions, normalisation layers and subclasses of the user's own). "a plain
loop" is one environment and lists; Stable-Baselines3's vector environment, where it is installed, is stepped by a
bare loop, too. CPU time, the best of windows that alternate between the forms, so that other load on the machine
meets all of them alike; of processes the time that passes.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
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


class TorchActing(Acting):
    """The same size with normalisation layers, on one thread."""

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


class JaxActing(NumPyActing):
    """The NumPy network, normalised, as one jitted program."""

    def __init__(self) -> None:
        import jax
        from jax import numpy as jnp

        super().__init__()

        def forward(x: Any) -> Any:
            for layer in self._layers[:-1]:
                x = x @ layer
                x = jnp.tanh((x - x.mean(1, keepdims=True)) / jnp.sqrt(x.var(1, keepdims=True) + 1e-5))
            return x @ self._layers[-1]

        self._forward = jax.jit(forward)

    def logits(self, observations: np.ndarray) -> np.ndarray:
        return np.asarray(self._forward(observations))


class TFActing(NumPyActing):
    """The NumPy network, normalised, as one concrete function."""

    def __init__(self) -> None:
        import tensorflow as tf

        super().__init__()

        def forward(x: Any) -> Any:
            for layer in self._layers[:-1]:
                x = x @ layer
                mean, variance = tf.nn.moments(x, [1], keepdims=True)
                x = tf.tanh((x - mean) / tf.sqrt(variance + 1e-5))
            return x @ self._layers[-1]

        self._forward = tf.function(forward, input_signature=[tf.TensorSpec([None, 4], tf.float32)])

    def logits(self, observations: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self._forward(observations).numpy()
        return logits


AGENTS: dict[str, Callable[[], Acting]] = {
    "numpy": NumPyActing, "torch": TorchActing, "jax": JaxActing, "tf": TFActing,
}  # fmt: skip


def windows(pipeline: BatchPipeline | VectorBatchPipeline) -> Iterator[EpisodeData]:
    pipeline.seed(RandomStreams(0))
    iterator = pipeline.episodes()
    next(iterator)  # builds the environments
    return iterator


def stable_baselines3(agent: Acting, n_envs: int) -> Iterator[int]:
    """Rows of windows that nobody checks: observations, actions, rewards and ends are stored, as in a rollout."""
    from stable_baselines3.common.env_util import make_vec_env

    venv, rng, each = make_vec_env(ENV_ID, n_envs), np.random.default_rng(0), ROWS // n_envs
    stored = [np.zeros((each, n_envs, *shape), dtype=np.float32) for shape in ((4,), (), (), ())]
    observations: Any = venv.reset()
    while True:
        for row in range(each):
            actions, _ = agent.act_batch(observations, rng=rng)
            following, rewards, dones, _ = venv.step(actions)
            for place, value in zip(stored, (observations, actions, rewards, dones), strict=True):
                place[row] = value
            observations = following
        yield ROWS


def plain_loop(agent: Acting) -> Iterator[int]:
    """One environment and lists, as in a tutorial; nothing is checked, counted or seeded."""
    env, rng = gym.make(ENV_ID), np.random.default_rng(0)
    observation, _ = env.reset()
    while True:
        rows = []
        for _ in range(ROWS):
            action = int(agent.act_batch(observation[None], rng=rng)[0][0])
            following, reward, terminated, truncated, _ = env.step(action)
            rows.append((observation, action, reward, terminated, truncated))
            observation = env.reset()[0] if terminated or truncated else following
        yield len(rows)


def rows_of(iterator: Iterator[EpisodeData]) -> Iterator[int]:
    for window in iterator:
        yield window.length


def best(iterators: dict[str, Iterator[int]]) -> dict[str, float]:
    """Microseconds an env step, of each."""
    seconds: dict[str, list[float]] = {form: [] for form in iterators}
    for _ in range(WINDOWS):
        for form, iterator in iterators.items():
            clock = time.perf_counter if "processes" in form else time.process_time
            begun = clock()
            n_rows = next(iterator)
            seconds[form].append((clock() - begun) / n_rows)
    return {form: min(own) * 1e6 for form, own in seconds.items()}


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


def main(names: list[str]) -> None:
    print(f"{ENV_ID}, windows of {ROWS} rows, best of {WINDOWS}, us per env step (and times faster than one)")
    for name in names:
        agent = AGENTS[name]()
        pipelines = forms(agent)
        iterators = {form: rows_of(windows(pipeline)) for form, pipeline in pipelines.items()}
        iterators["a plain loop"] = plain_loop(agent)
        if importlib.util.find_spec("stable_baselines3"):
            iterators |= {f"SB3, {n} bare": stable_baselines3(agent, n) for n in (1, N_ENVS)}
        costs = best(iterators)
        for form, cost in costs.items():
            print(f"  {name:6s} {form:20s} {cost:8.1f}   {costs['one environment'] / cost:5.2f} x", flush=True)
        for pipeline in pipelines.values():
            pipeline.teardown()


if __name__ == "__main__":
    main(sys.argv[1:] or ["numpy", "torch"])
