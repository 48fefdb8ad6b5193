"""PPO on CartPole-v1 with PyTorch networks and an optimizer of your own.

    python examples/quickstart_torch.py

Needs PyTorch: pip install -e ".[torch]"
"""

import gymnasium as gym
import torch
import torch.nn as nn

from tensor_optix import BatchPipeline, HyperparamSet, RLOptimizer
from tensor_optix.algorithms.torch_ppo import TorchPPOAgent


def main() -> None:
    obs_dim, n_actions = 4, 2
    actor = nn.Sequential(nn.Linear(obs_dim, 64), nn.Tanh(), nn.Linear(64, n_actions))
    critic = nn.Sequential(nn.Linear(obs_dim, 64), nn.Tanh(), nn.Linear(64, 1))
    agent = TorchPPOAgent(
        actor=actor,
        critic=critic,
        optimizer=torch.optim.Adam(list(actor.parameters()) + list(critic.parameters()), lr=3e-4),
        hyperparams=HyperparamSet(params={
            "learning_rate": 3e-4, "clip_ratio": 0.2, "entropy_coef": 0.01,
            "gamma": 0.99, "gae_lambda": 0.95, "n_epochs": 10, "minibatch_size": 64,
        }, episode_id=0),
    )  # fmt: skip
    pipeline = BatchPipeline(env=gym.make("CartPole-v1"), agent=agent, window_size=2048)
    opt = RLOptimizer(agent=agent, pipeline=pipeline)
    opt.run()

    assert opt.result is not None
    print(f"{opt.result.reason.value}: {opt.result.explanation}")
    print(f"best score {opt.result.score}, in {opt.result.run_dir}")


if __name__ == "__main__":
    main()
