"""The runs that are killed and terminated: short, with every kind of agent, and the same bits every time."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix import BatchPipeline, HyperparamSet, RLOptimizer, quick
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.state import split_state
from tensor_optix.storage import FileSystem, RunDirectory

WINDOWS, WINDOW_SIZE = 20, 60  # env episodes cross window boundaries
CLOCKS = {"seconds", "timestamp"}


class SixMethods:
    """The least that an agent can be; all that it knows is in the file that it writes itself."""

    def __init__(self) -> None:
        self.weights = np.linspace(-1, 1, 4)

    def act(self, observation: np.ndarray) -> int:
        return int(observation @ self.weights > 0)

    def learn(self, episode_data: Any) -> dict[str, Any]:
        step = np.mean(episode_data.observations, axis=0) * len(episode_data.episode_returns)
        self.weights = np.sin(3 * self.weights + step)  # chaotic: whatever is lost shows at the end
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({"rate": 3.0})

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None: ...

    def save_weights(self, path: str) -> None:
        Path(path).write_bytes(self.weights.tobytes())

    def load_weights(self, path: str) -> None:
        self.weights = np.frombuffer(Path(path).read_bytes())


def torch_ppo() -> BaseAgent:
    import torch

    torch.set_num_threads(1)
    return quick.make_agent(BatchPipeline(env_id="CartPole-v1", window_size=1), seed=5, n_epochs=2)


def torch_dqn() -> BaseAgent:
    import torch

    from tensor_optix import TorchDQNAgent

    torch.set_num_threads(1)
    torch.manual_seed(5)
    q = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    params = {"epsilon": 0.5, "updates_per_step": 0.11, "per_alpha": 0.6, "n_step": 3, "replay_capacity": 500}
    return TorchDQNAgent(q, 2, torch.optim.Adam(q.parameters(), lr=1e-3), params, device="cpu")


def of_backend(backend: str) -> Callable[[], BaseAgent]:
    """DQN, which remembers most between windows; one size of bursts, so that there is one program to compile."""
    params = {"epsilon": 0.5, "updates_per_step": 0.2, "batch_size": 6, "learning_starts": WINDOW_SIZE,
              "per_alpha": 0.6, "n_step": 3, "replay_capacity": 500}  # fmt: skip

    def build() -> BaseAgent:
        from tests.agents_of_backends import small_agent

        agent: BaseAgent = small_agent(backend, "dqn", params, n_actions=2)
        return agent

    return build


AGENTS: dict[str, Callable[[], Any]] = {  # an agent added to the package joins here with one line
    "six methods": SixMethods,
    "torch ppo": torch_ppo,
    "torch dqn": torch_dqn,
    "jax dqn": of_backend("jax"),
    "tf dqn": of_backend("tf"),
}
COMPILED = {"jax dqn": "jax", "tf dqn": "tf"}
"""Each life of these takes seconds to compile; forked processes must find the framework imported, but never used."""


def make(kind: str, out: str, **keywords: Any) -> RLOptimizer:
    """A run below ``out`` with the agent called ``kind``."""
    pipeline = BatchPipeline(env_id="CartPole-v1", window_size=WINDOW_SIZE)
    settings = {"max_episodes": WINDOWS, "max_snapshots": 3, "evaluation_episodes": 3, "seed": 7, **keywords}
    return RLOptimizer(AGENTS[kind](), pipeline, checkpoint_dir=out, **settings)


def outcome(opt: RLOptimizer) -> dict[str, Any]:
    """What a finished run leaves, clock readings aside, as JSON values."""
    result, run = opt.result, RunDirectory.open(FileSystem(), opt.run_dir)
    rows = [{name: value for name, value in row.items() if name not in CLOCKS} for row in run.read_metrics()]
    assert result is not None
    return {
        "weights": weights_hash(opt._parts.agent),
        "rows": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "reason": result.reason.value,
        "score": result.score,
        "final": list(result.final.returns) if result.final else None,
        "spent": [result.windows, result.env_steps, result.evaluation_steps],
    }


def weights_hash(agent: BaseAgent) -> str:
    """SHA-256 over the policy."""
    policy = agent.policy_state()
    if policy is None:
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "weights"
            agent.save_weights(str(file))
            return hashlib.sha256(file.read_bytes()).hexdigest()
    json_values, arrays = split_state(policy)
    digest = hashlib.sha256(repr(json_values).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
