"""Small agents of each algorithm on any backend, with seeded weights and statistics; the spaces they act in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnxruntime

from tensor_optix import ObsNormalizer
from tensor_optix.algorithms.designs import AgentDesign, Body, networks_for
from tensor_optix.algorithms.network_agent import NetworkAgent

N_INPUTS, N_ACTIONS = 5, 3
DISCRETE, CONTINUOUS = ("ppo", "dqn"), ("gaussian_ppo", "sac")


def an_agent(
    kind: str, agent_of: Callable[[AgentDesign], Any], *, shape: tuple[int, ...] = (N_INPUTS,), normalised: bool = True
) -> NetworkAgent:
    """An agent of ``kind`` with the built-in networks; its statistics have seen a few rows."""
    seeds = {"actor": 1, "critic": 2, "q_network": 3, "critic1": 4, "critic2": 5}
    body = Body(shape, len(shape) > 1, (16, 16), "relu" if kind in ("dqn", "sac") else "tanh", seeds)
    networks = networks_for(kind, body, N_ACTIONS)
    statistics = None
    if normalised:
        statistics = ObsNormalizer(shape)
        statistics.update(np.random.default_rng(0).normal(3.0, 2.0, (50, *shape)))
    replay = {"replay_capacity": 100} if kind in ("dqn", "sac") else {}
    hyperparams = {"learning_rate": 1e-3, **replay, **({"learning_starts": 0} if kind == "sac" else {})}
    agent: NetworkAgent = agent_of(AgentDesign(kind, networks, N_ACTIONS, hyperparams, obs_normalizer=statistics))
    agent.perturb_weights(0.5)
    return agent


def observations(shape: tuple[int, ...] = (N_INPUTS,), n: int = 200) -> np.ndarray:
    """Raw ones, [n, *shape]."""
    return np.random.default_rng(7).normal(3.0, 2.5, (n, *shape)).astype(np.float32)


BOX = gym.spaces.Box(np.array([-1.0, 0.0, -3.0], np.float32), np.array([1.0, 5.0, -2.0], np.float32))


class Spaces:
    """What an environment says of itself."""

    def __init__(self, action_space: Any, shape: tuple[int, ...] = (N_INPUTS,)) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.action_space = action_space


def env_for(kind: str, shape: tuple[int, ...] = (N_INPUTS,)) -> Spaces:
    return Spaces(gym.spaces.Discrete(N_ACTIONS, start=4) if kind in DISCRETE else BOX, shape)


def onnx_outputs(path: Path, x: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"observation": x}), strict=True))
