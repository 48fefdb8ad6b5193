"""DQN on CartPole-v1, with the hyperparameters of the bare algorithm.

    python examples/cartpole_dqn.py

Needs PyTorch: pip install -e ".[torch]"
"""

import gymnasium as gym
import torch
from torch import nn

from tensor_optix import BatchPipeline, HyperparamSet, RLOptimizer, TorchDQNAgent


def main() -> None:
    torch.manual_seed(0)
    q_network = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    agent = TorchDQNAgent(
        q_network=q_network,
        n_actions=2,
        optimizer=torch.optim.Adam(q_network.parameters(), lr=3e-4),
        hyperparams=HyperparamSet({
            "learning_rate": 3e-4, "gamma": 0.99,
            "epsilon": 1.0, "epsilon_min": 0.05, "epsilon_decay": 0.995,
            "batch_size": 64, "target_update_freq": 100, "replay_capacity": 100_000,
        }),
    )  # fmt: skip
    pipeline = BatchPipeline(env=gym.make("CartPole-v1"), agent=agent, window_size=64)
    opt = RLOptimizer(agent=agent, pipeline=pipeline, seed=0, verbose=True)
    opt.run()

    assert opt.result is not None
    print(f"{opt.result.reason.value}: {opt.result.explanation}")


if __name__ == "__main__":
    main()
