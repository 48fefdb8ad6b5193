"""SAC on Pendulum-v1: actor, two critics, and an optimizer for each part.

    python examples/pendulum_sac.py

Needs PyTorch: pip install -e ".[torch]"
"""

import gymnasium as gym
import torch
from torch import nn

from tensor_optix import BatchPipeline, HyperparamSet, RLOptimizer, TorchSACAgent

OBS_DIM, ACTION_DIM = 3, 1


def network(n_inputs: int, n_outputs: int) -> nn.Sequential:
    hidden = [nn.Linear(n_inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(128, n_outputs))


def main() -> None:
    torch.manual_seed(0)
    actor = network(OBS_DIM, 2 * ACTION_DIM)            # [mean ‖ log_std]
    critics = [network(OBS_DIM + ACTION_DIM, 1) for _ in range(2)]
    agent = TorchSACAgent(
        actor=actor,
        critic1=critics[0],
        critic2=critics[1],
        action_dim=ACTION_DIM,
        actor_optimizer=torch.optim.Adam(actor.parameters(), lr=1e-3),
        critic_optimizer=torch.optim.Adam([*critics[0].parameters(), *critics[1].parameters()], lr=1e-3),
        alpha_optimizer=torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-3),
        hyperparams=HyperparamSet({"gamma": 0.99, "tau": 0.005, "batch_size": 256, "replay_capacity": 100_000}),
    )
    pipeline = BatchPipeline(env=gym.make("Pendulum-v1"), agent=agent, window_size=64)
    opt = RLOptimizer(agent=agent, pipeline=pipeline, seed=0, verbose=True)
    opt.run()

    assert opt.result is not None
    print(f"{opt.result.reason.value}: {opt.result.explanation}")


if __name__ == "__main__":
    main()
