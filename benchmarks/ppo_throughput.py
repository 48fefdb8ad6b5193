"""How many env steps PPO makes in a second, learning included, beside a rival in the same interleaved run.

CartPole-v1, 1 environment, windows of 2048, minibatches of 64, 10 epochs, 64x64 tanh, one thread. CPU time, medians.
The rival is Stable-Baselines3 where it is installed; else a plain PyTorch loop in its style (Categorical objects,
log-prob and value at every step, default Adam, indexing per minibatch, advantages normalised per minibatch), which
has none of SB3's wrappers and so is the faster of the two.

    python benchmarks/ppo_throughput.py [rounds]
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
from tensor_optix.core.types import EpisodeData, HyperparamSet

WINDOW, MINIBATCH, EPOCHS = 2048, 64, 10


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    name, rival = ("Stable-Baselines3", sb3) if importlib.util.find_spec("stable_baselines3") else (
        "plain PyTorch loop in the style of SB3", plain_loop
    )  # fmt: skip
    contestants: dict[str, Callable[[], object]] = {"tensor-optix": ours(), name: rival()}
    rates: dict[str, list[float]] = {label: [] for label in contestants}
    for number in range(rounds + 1):
        for label, one_window in contestants.items():
            start = time.process_time()
            one_window()
            if number:  # the first round warms up
                rates[label].append(WINDOW / (time.process_time() - start))
    for label, values in rates.items():
        print(f"{label:42s}{statistics.median(values):8.0f} env steps/s   [{min(values):.0f} - {max(values):.0f}]")
    ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
    print(f"ratio {statistics.median(ratios):.2f}   (must 3, goal 6.3 beside SB3)")


def dense(n_outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, n_outputs))


def ours() -> Callable[[], object]:
    actor, critic = dense(2), dense(1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4)
    agent = TorchPPOAgent(actor, critic, optimizer, HyperparamSet({}), device="cpu")
    windows = collected(agent)
    return lambda: agent.learn(next(windows))


def collected(agent: TorchPPOAgent) -> Iterator[EpisodeData]:
    env, rng = gym.make("CartPole-v1"), np.random.default_rng(0)
    observation, _ = env.reset(seed=0)
    while True:
        observations = np.empty((WINDOW, 4), np.float32)
        actions = np.empty(WINDOW, np.int64)
        rewards, terminations, truncations, finals = [], [], [], {}
        for row in range(WINDOW):
            observations[row] = observation
            action = int(agent.act_batch(observation[None], rng=rng)[0][0])
            observation, reward, terminated, truncated, _ = env.step(action)
            actions[row] = action
            rewards.append(float(reward))
            terminations.append(terminated)
            truncations.append(truncated)
            if terminated or truncated or row == WINDOW - 1:
                finals[row] = observation
            if terminated or truncated:
                observation, _ = env.reset()
        infos: list[dict[str, object]] = []
        yield EpisodeData(
            observations, actions, rewards, terminations, truncations, infos, 0, final_observations=finals
        )


def plain_loop() -> Callable[[], object]:
    env = gym.make("CartPole-v1")
    actor, critic = dense(2), dense(1)
    parameters = [*actor.parameters(), *critic.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-4, eps=1e-5)
    start, _ = env.reset(seed=0)
    current = [start]

    def one_window() -> None:
        observations, actions, log_probs, values, rewards, dones = [], [], [], [], [], []
        for _ in range(WINDOW):
            x = torch.as_tensor(current[0]).unsqueeze(0)
            with torch.no_grad():
                policy = torch.distributions.Categorical(logits=actor(x))
                action = policy.sample()
                log_probs.append(policy.log_prob(action))
                values.append(critic(x).flatten())
            observations.append(x)
            actions.append(action)
            current[0], reward, terminated, truncated, _ = env.step(int(action))
            rewards.append(float(reward))
            dones.append(terminated or truncated)
            if dones[-1]:
                current[0], _ = env.reset()
        with torch.no_grad():
            last = float(critic(torch.as_tensor(current[0]).unsqueeze(0)))
        x, a, old, v = (torch.cat(column) for column in (observations, actions, log_probs, values))
        advantage, following, gain = np.zeros(WINDOW, np.float32), last, 0.0
        for t in reversed(range(WINDOW)):
            alive, value = 1.0 - dones[t], float(v[t])
            gain = rewards[t] + 0.99 * following * alive - value + 0.99 * 0.95 * alive * gain
            advantage[t], following = gain, value
        adv = torch.as_tensor(advantage)
        returns = adv + v
        for _ in range(EPOCHS):
            for rows in torch.randperm(WINDOW).split(MINIBATCH):
                policy = torch.distributions.Categorical(logits=actor(x[rows]))
                ratio = (policy.log_prob(a[rows]) - old[rows]).exp()
                part = (adv[rows] - adv[rows].mean()) / (adv[rows].std() + 1e-8)
                surrogate = -torch.min(ratio * part, ratio.clamp(0.8, 1.2) * part).mean()
                value_loss = nn.functional.mse_loss(critic(x[rows]).flatten(), returns[rows])
                loss = surrogate + 0.5 * value_loss - 0.01 * policy.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 0.5)
                optimizer.step()

    return one_window


def sb3() -> Callable[[], object]:
    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", "CartPole-v1", n_steps=WINDOW, batch_size=MINIBATCH, n_epochs=EPOCHS, device="cpu")
    return lambda: model.learn(WINDOW, reset_num_timesteps=False)


if __name__ == "__main__":
    main()
