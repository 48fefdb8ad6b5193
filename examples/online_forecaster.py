"""A forecaster with nothing but the six methods learns from a stream, one trading day at a time.

    python examples/online_forecaster.py

The data are daily figures of one share, 2004 to 2008, which matplotlib brings along: pip install -e ".[report]"
What is forecast is how much of it will be traded tomorrow (the logarithm of the volume). The model is linear in the
volumes of the last day, week and month, starts as "tomorrow is like today", and is fitted by recursive least squares.
When next to nothing is left to learn it goes on forecasting and no longer learns, until its forecasts get worse. No
framework is needed.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.cbook import get_sample_data

from tensor_optix import EpisodeData, HyperparamSet, LivePipeline, ReturnEvaluator, RLOptimizer

LOOKBACK = 22          # trading days of a month


def daily_volumes() -> np.ndarray:
    """The logarithm of the shares traded, in millions, [days]."""
    volumes: np.ndarray = np.log(get_sample_data("goog.npz")["price_data"]["volume"] / 1e6)
    return volumes


class Market:
    """A source that answers: the record after a forecast carries the forecast's reward, minus its squared error."""

    def __init__(self, volumes: np.ndarray) -> None:
        self._volumes = volumes
        self._forecast = 0.0

    def act(self, forecast: Any) -> None:
        self._forecast = float(forecast)

    def stream(self) -> Iterator[tuple[np.ndarray, float, bool, bool, dict[str, Any]]]:
        for day in range(LOOKBACK, len(self._volumes) + 1):
            seen = self._volumes[day - LOOKBACK : day]                      # the newest last
            yield seen.astype(np.float32), -((self._forecast - float(seen[-1])) ** 2), False, False, {"day": day}


class Forecaster:
    """Recursive least squares with forgetting factor λ (Haykin, "Adaptive filter theory", ch. 9).

        k = P x / (λ + xᵀ P x)      w ← w + k (y - wᵀ x)      P ← (P - k xᵀ P) / λ
    """

    def __init__(self, forgetting: float = 0.999) -> None:
        self._hyperparams = HyperparamSet({"forgetting": forgetting})
        self.w, self.P = np.array([1.0, 0.0, 0.0, 0.0]), 10.0 * np.eye(4)

    def act(self, observation: np.ndarray) -> float:
        return float(self.w @ self._features(observation))

    def learn(self, episode_data: EpisodeData) -> dict[str, float]:
        forgetting = self._hyperparams.params["forgetting"]
        targets = episode_data.next_observations[:, -1]                  # what came: the last of the next record
        for observation, y in zip(episode_data.observations, targets, strict=True):
            x = self._features(observation)
            k = self.P @ x / (forgetting + x @ self.P @ x)
            self.w = self.w + k * (y - self.w @ x)
            self.P = (self.P - np.outer(k, x @ self.P)) / forgetting
        return {"weight_norm": float(np.linalg.norm(self.w))}

    def get_hyperparams(self) -> HyperparamSet:
        return self._hyperparams.copy()

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        self._hyperparams = hyperparams.copy()

    def save_weights(self, path: str) -> None:
        np.savez(path, w=self.w, P=self.P)

    def load_weights(self, path: str) -> None:
        with np.load(f"{path}.npz") as stored:
            self.w, self.P = stored["w"], stored["P"]

    @staticmethod
    def _features(observation: np.ndarray) -> np.ndarray:
        """The last day, week and month (Corsi 2009), and a constant."""
        volumes = np.asarray(observation, dtype=float)
        return np.array([volumes[-1], volumes[-5:].mean(), volumes.mean(), 1.0])


def main() -> None:
    volumes = daily_volumes()
    errors: list[float] = []

    def mean_reward(window: EpisodeData, diagnostics: dict[str, Any]) -> float:
        errors.extend(-np.asarray(window.rewards))
        return float(np.mean(window.rewards))

    agent = Forecaster()
    month = LivePipeline.every_n_steps(20)
    pipeline = LivePipeline(Market(volumes), agent=agent, episode_boundary_fn=month, reconnect_on_disconnect=False)
    evaluator = ReturnEvaluator(mean_reward)
    opt = RLOptimizer(agent=agent, pipeline=pipeline, evaluator=evaluator, seed=0, on_dormant="watch")
    opt.run()

    assert opt.result is not None
    print(f"{opt.result.reason.value} after {opt.result.env_steps} days")
    day = np.arange(LOOKBACK, LOOKBACK + len(errors))
    yesterday = (volumes[day] - volumes[day - 1]) ** 2
    mean_so_far = (volumes[day] - np.cumsum(volumes)[day - 1] / day) ** 2
    print(f"root mean squared error of the forecasts: {np.mean(errors) ** 0.5:.3f}")
    print(f"of tomorrow as today: {yesterday.mean() ** 0.5:.3f}, of the mean so far: {mean_so_far.mean() ** 0.5:.3f}")


if __name__ == "__main__":
    main()
