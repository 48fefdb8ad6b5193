"""How does each library do one round of a workload? A call makes so many env steps, learning included."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks.speed.workloads import BACKENDS, SB3, Workload


@dataclass
class Clock:
    """CPU seconds spent inside the calls that it wraps."""

    seconds: float = 0.0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **keywords: Any) -> Any:
            start = time.process_time()
            try:
                return call(*args, **keywords)
            finally:
                self.seconds += time.process_time() - start

        return timed


class Contestant:
    """One library on one workload. Raises ImportError where the library is not installed."""

    def round(self) -> None:
        """Train for the workload's number of env steps."""
        raise NotImplementedError

    def split(self) -> dict[str, float]:
        """The CPU seconds of one round, by "act", "env" and "learn". (Measuring itself makes such a round slower.)"""
        return {}


def contestant(name: str, workload: Workload) -> Contestant:
    """``name``: one of BACKENDS or of RIVALS."""
    return Ours(name, workload) if name in BACKENDS else Rival(name, workload)


class Ours(Contestant):
    """A plain loop of collecting and learning over a pipeline and an agent with the published defaults."""

    def __init__(self, backend: str, workload: Workload) -> None:
        from tensor_optix.algorithms.designs import AgentDesign, Body, networks_for
        from tensor_optix.pipeline.batch_pipeline import BatchPipeline
        from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
        from tensor_optix.quick.backends import networks_module

        self._workload = workload
        probe = gym.make(workload.env_id)
        n_inputs, space = probe.observation_space.shape[0], probe.action_space
        n_actions = int(space.n) if isinstance(space, gym.spaces.Discrete) else int(space.shape[0])
        seeds = {"critic": 1, "critic1": 1, "critic2": 2}
        body = Body((n_inputs,), False, workload.hidden, workload.activation, seeds)
        networks = networks_for(workload.algorithm, body, n_actions)
        if workload.algorithm == "sac":  # without the layer normalisation, which the rivals have not either
            for critic in ("critic1", "critic2"):
                networks[critic] = body.network(critic, 1, last_gain=1.0, n_more_inputs=n_actions)
        module = networks_module(backend.removesuffix("-compiled"))
        module.use_one_thread()
        is_compiled = backend.endswith("-compiled")  # by choice; JAX and TensorFlow always are
        self._agent = module.agent_of(
            AgentDesign(workload.algorithm, networks, n_actions, workload.hyperparams, compile=is_compiled)
        )
        self._agent.seed(np.random.default_rng(0))
        if workload.n_envs == 1:
            pipeline: Any = BatchPipeline(self._env, self._agent, workload.window)
        else:
            pipeline = VectorBatchPipeline(self._env, self._agent, workload.window, n_envs=workload.n_envs)
        pipeline.setup()
        self._windows = pipeline.episodes()

    def _env(self) -> gym.Env[Any, Any]:
        return gym.make(self._workload.env_id)

    def round(self) -> None:
        for _ in range(self._workload.steps // (self._workload.n_envs * self._workload.window)):
            self._agent.learn(next(self._windows))

    def split(self) -> dict[str, float]:
        acting, learning = Clock(), Clock()
        agent = self._agent
        agent.act_batch, learn = acting.around(agent.act_batch), agent.learn
        agent.learn = learning.around(learn)
        start = time.process_time()
        self.round()
        seconds = time.process_time() - start
        del agent.act_batch, agent.learn
        return {"act": acting.seconds, "env": seconds - acting.seconds - learning.seconds, "learn": learning.seconds}


class Rival(Contestant):
    """Stable-Baselines3 or SBX with the same networks and batches, each with its own loop."""

    def __init__(self, name: str, workload: Workload) -> None:
        self._workload = workload
        classes, activation, on_cpu = _sb3(workload) if name == SB3 else _sbx(workload)
        window = workload.rival_windows.get(name, workload.window)
        keywords: dict[str, Any] = {"learning_rate": 3e-4, "batch_size": workload.batch, "verbose": 0, **on_cpu}
        if workload.algorithm == "ppo":
            keywords |= {"n_steps": window, "n_epochs": 10}
        else:
            n_updates = max(1, round(window * workload.updates_per_step))
            keywords |= {"train_freq": window, "gradient_steps": n_updates, "learning_starts": 256,
                         "buffer_size": 100_000}  # fmt: skip
        if workload.algorithm == "dqn":
            keywords |= {"exploration_initial_eps": 0.1, "exploration_final_eps": 0.1, "target_update_interval": 500}
        policy = {"net_arch": list(workload.hidden), "activation_fn": activation}
        env: Any = workload.env_id
        if workload.n_envs > 1:
            from stable_baselines3.common.env_util import make_vec_env

            env = make_vec_env(env, workload.n_envs)
        self._model = classes[workload.algorithm]("MlpPolicy", env, policy_kwargs=policy, seed=0, **keywords)

    def round(self) -> None:
        self._model.learn(self._workload.steps, reset_num_timesteps=False)


def _sb3(workload: Workload) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    import torch
    from stable_baselines3 import DQN, PPO, SAC

    torch.set_num_threads(1)
    activation = torch.nn.Tanh if workload.activation == "tanh" else torch.nn.ReLU
    return {"ppo": PPO, "dqn": DQN, "sac": SAC}, activation, {"device": "cpu"}


def _sbx(workload: Workload) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    import torch
    from flax import linen
    from sbx import DQN, PPO, SAC

    torch.set_num_threads(1)
    return {"ppo": PPO, "dqn": DQN, "sac": SAC}, linen.tanh if workload.activation == "tanh" else linen.relu, {}
