"""A trading-style agent: trained on the past, chosen and judged on what came later, fold by fold.

    python examples/trading_walk_forward.py

The data are daily prices of one share, 2004 to 2008, which matplotlib brings along. Needs PyTorch and matplotlib:
pip install -e ".[torch,report]". It shows the mechanics; expect no profit from ten features of one price series.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from matplotlib.cbook import get_sample_data
from torch import nn

from tensor_optix import BatchPipeline, EpisodeData, HyperparamSet, RLOptimizer, TorchPPOAgent, walk_forward

LOOKBACK, COST = 10, 0.0005
POSITIONS = (0.0, 1.0, -1.0)             # flat, long, short


def daily_returns() -> np.ndarray:
    """log(p_t / p_{t-1}), [days]."""
    prices = get_sample_data("goog.npz")["price_data"]["adj_close"]
    returns: np.ndarray = np.diff(np.log(prices))
    return returns


class Trading(gym.Env[np.ndarray, int]):
    """One pass over consecutive days. Observation: the last returns (in percent) and the position held."""

    observation_space = Box(-np.inf, np.inf, (LOOKBACK + 1,), np.float32)
    action_space = Discrete(len(POSITIONS))

    def __init__(self, returns: np.ndarray) -> None:
        self._returns = returns

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._day, self._position = LOOKBACK, 0.0
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        wanted = POSITIONS[action]
        reward = 100.0 * (wanted * self._returns[self._day] - COST * abs(wanted - self._position))
        self._position, self._day = wanted, self._day + 1
        return self._seen(), float(reward), False, self._day == len(self._returns), {}

    def _seen(self) -> np.ndarray:
        recent = 100.0 * self._returns[self._day - LOOKBACK : self._day]
        return np.append(recent, self._position).astype(np.float32)


class TradingPPO(TorchPPOAgent):
    """PPO that also reports how often it wants to be flat, long and short."""

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        diagnostics = super().learn(episode_data)
        with torch.no_grad():
            logits = self._actor(torch.as_tensor(np.asarray(episode_data.observations[:256]), dtype=torch.float32))
        shares = torch.softmax(logits, dim=-1).mean(dim=0)
        return {**diagnostics, "p_flat": float(shares[0]), "p_long": float(shares[1]), "p_short": float(shares[2])}


def new_agent() -> TradingPPO:
    actor = nn.Sequential(nn.Linear(LOOKBACK + 1, 32), nn.Tanh(), nn.Linear(32, len(POSITIONS)))
    critic = nn.Sequential(nn.Linear(LOOKBACK + 1, 32), nn.Tanh(), nn.Linear(32, 1))
    return TradingPPO(
        actor, critic, torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-4),
        HyperparamSet({"entropy_coef": 0.01, "n_epochs": 5, "minibatch_size": 128}), device="cpu",
    )  # fmt: skip


def pass_over(returns: np.ndarray) -> BatchPipeline:
    """One env episode is one pass over these days."""
    return BatchPipeline(env=lambda: Trading(returns), window_size=len(returns) - LOOKBACK)


def percent(agent: TradingPPO, returns: np.ndarray) -> float:
    """What one pass yields, acting deterministically. Nothing is learned from it."""
    pipeline = pass_over(returns)
    pipeline.set_agent(agent)
    window = pipeline.evaluate(agent, seeds=[0])
    pipeline.teardown()
    assert window is not None
    return window.episode_returns[0]


def main() -> None:
    torch.manual_seed(0)
    returns = daily_returns()
    for fold in walk_forward(len(returns), n_folds=3, lookback=LOOKBACK + 1):
        middle = fold.train.start + 3 * len(fold.train) // 4
        learned_from = returns[fold.train.start : middle]
        chosen_by = returns[middle:fold.train.stop]                   # its first days are features, never traded
        judged_on = returns[fold.validation.start : fold.validation.stop]
        agent = new_agent()
        opt = RLOptimizer(
            agent=agent, pipeline=pass_over(learned_from), val_pipeline=pass_over(chosen_by),
            max_episodes=100, seed=fold.number, evaluation_episodes=0,
        )  # fmt: skip
        opt.run()
        print(f"fold {fold.number}: {percent(agent, learned_from):+7.1f} % on the days it learned from")
        print(f"        {percent(agent, chosen_by):+7.1f} % on the days it was chosen by")
        print(f"        {percent(agent, judged_on):+7.1f} % on the days after", end="")
        print(f", the share itself {100.0 * judged_on[LOOKBACK:].sum():+.1f} %")


if __name__ == "__main__":
    main()
