"""PPO with networks and an optimizer of your own on CartPole-v1, until nothing more is to be gained.

    python examples/cartpole_ppo.py

Needs PyTorch: pip install -e ".[torch]". The run's directory goes below ./checkpoints.
"""

import gymnasium as gym
import torch
from torch import nn

from tensor_optix import BatchPipeline, HyperparamSet, RLOptimizer, TorchPPOAgent


def network(n_outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, n_outputs))


def main() -> None:
    torch.manual_seed(1)  # PyTorch draws the first weights; everything after that follows the run's seed
    actor, critic = network(2), network(1)
    agent = TorchPPOAgent(
        actor=actor,
        critic=critic,
        optimizer=torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4),
        hyperparams=HyperparamSet({"learning_rate": 3e-4, "clip_ratio": 0.2, "entropy_coef": 0.01}),
    )
    pipeline = BatchPipeline(env=gym.make("CartPole-v1"), agent=agent, window_size=2048)
    opt = RLOptimizer(agent=agent, pipeline=pipeline, seed=1, verbose=True)
    opt.run()

    result = opt.result
    assert result is not None
    print(f"{result.reason.value}: {result.explanation}")
    if result.final is not None:
        print(f"best policy on fresh seeds: {result.final.mean:.1f} [{result.final.low:.1f}, {result.final.high:.1f}]")
    print(result.run_dir)


if __name__ == "__main__":
    main()
