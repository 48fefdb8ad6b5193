"""What does the loop itself cost a window, beside collecting and learning?

    python benchmarks/loop_overhead.py        about 10 seconds

Parts that do nothing run through the whole loop: once with windows that carry no score, once with windows that do
(these also write a row to the run directory). The figure includes generating the empty window.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tensor_optix import BaseAgent, BaseEvaluator, BasePipeline, EpisodeData, EvalMetrics, HyperparamSet, RLOptimizer

WINDOWS = 3000


class IdleAgent(BaseAgent):
    def act(self, observation: Any) -> int:
        return 0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None: ...
    def save_weights(self, path: str) -> None: ...
    def load_weights(self, path: str) -> None: ...

    def policy_state(self) -> dict[str, Any]:
        return {"nothing": np.zeros(1)}

    def load_policy_state(self, state: dict[str, Any]) -> None: ...


class IdlePipeline(BasePipeline):
    is_live = False

    def setup(self) -> None: ...
    def teardown(self) -> None: ...

    def episodes(self) -> Iterator[EpisodeData]:
        column = np.zeros((1, 1))
        while True:
            yield EpisodeData(column, column, [0.0], [False], [False], [{}], 0)


class Scoring(BaseEvaluator):
    def __init__(self, score: float | None) -> None:
        self.value = score

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics | None:
        self.value = None if self.value is None else self.value - 1.0  # always worse: nothing is committed
        return None if self.value is None else EvalMetrics(self.value, {}, 0)


def microseconds_per_window(score: float | None) -> float:
    with tempfile.TemporaryDirectory() as out:
        opt = RLOptimizer(IdleAgent(), IdlePipeline(), Scoring(score), checkpoint_dir=out, max_episodes=WINDOWS,
                          max_snapshots=1, dormant_threshold=10**9, stuck_after=10**9)  # fmt: skip
        start = time.perf_counter()
        opt.run()
        return (time.perf_counter() - start) / WINDOWS * 1e6


if __name__ == "__main__":
    print(f"a window without a score   {microseconds_per_window(None):7.1f} µs")
    print(f"a window with a score      {microseconds_per_window(0.0):7.1f} µs")
