"""Parts whose behaviour is written down beforehand, so that every decision of the loop has a known answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tensor_optix import (
    BaseAgent,
    BaseEvaluator,
    BasePipeline,
    EpisodeData,
    EvalMetrics,
    HyperparamSet,
    LoopCallback,
    Param,
    Space,
)


class ScriptedAgent(BaseAgent):
    """Its policy is a number that every learn call raises by one; ``log`` records what happened to it."""

    def __init__(self, log: list[str] | None = None, name: str = "") -> None:
        self.policy = 0
        self.name = name
        self.log = log if log is not None else []
        self.params: dict[str, Any] = {"learning_rate": 0.1}

    def act(self, observation: Any) -> int:
        return self.policy

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.log.append(f"{self.name}learn {episode_data.episode_id} with {self.params['learning_rate']:g}")
        self.policy += 1
        return {"loss": float(self.policy)}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet(dict(self.params))

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        self.params = dict(hyperparams.params)

    def save_weights(self, path: str) -> None:
        raise AssertionError("a state agent is saved by its state")

    def load_weights(self, path: str) -> None:
        raise AssertionError("a state agent is loaded by its state")

    def policy_state(self) -> dict[str, Any]:
        return {"policy": np.array(self.policy)}

    def state_dict(self) -> dict[str, Any]:
        return {"policy": np.array(self.policy), "params": dict(self.params)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.policy, self.params = int(state["policy"]), dict(state["params"])

    def load_policy_state(self, state: dict[str, Any]) -> None:
        self.policy = int(state["policy"])
        self.log.append(f"{self.name}load P{self.policy}")


class ScheduledAgent(ScriptedAgent):
    """Its learning rate is under a schedule."""

    @property
    def param_space(self) -> Space:
        return Space(learning_rate=Param("log_float", 1e-5, 1e-2, tunable=False, is_scheduled=True))


class ScriptedPipeline(BasePipeline):
    """Window k holds one step for each return in ``script[k]``: an env episode of length one with that return.

    A window of None holds a step that ends no episode. After the script the last window repeats.
    """

    def __init__(self, script: Iterable[Any], *, truncated: bool = False, log: list[str] | None = None) -> None:
        self.script = [window if isinstance(window, list) else [window] for window in script]
        self.truncated = truncated
        self.log = log if log is not None else []
        self.agent: BaseAgent | None = None
        self.collected = 0
        self.closed = 0

    def setup(self) -> None:
        self.log.append("setup")

    def set_agent(self, agent: BaseAgent) -> None:
        self.agent = agent

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            returns = self.script[min(self.collected, len(self.script) - 1)]
            self.log.append(f"collect {self.collected}")
            self.collected += 1
            yield window_of(returns, self.collected - 1, truncated=self.truncated)

    def teardown(self) -> None:
        self.closed += 1

    @property
    def is_live(self) -> bool:
        return False


def window_of(returns: list[float | None], number: int, *, truncated: bool = False) -> EpisodeData:
    """A window of one-step env episodes."""
    ended = [r is not None for r in returns]
    return EpisodeData(
        observations=np.zeros((len(returns), 1)),
        actions=np.zeros(len(returns), dtype=int),
        rewards=[r or 0.0 for r in returns],
        terminated=[e and not truncated for e in ended],
        truncated=[e and truncated for e in ended],
        infos=[{} for _ in returns],
        episode_id=number,
        episode_returns=[float(r) for r in returns if r is not None],
        episode_lengths=[1 for r in returns if r is not None],
    )


class FirstReward(BaseEvaluator):
    """The score is the window's first reward; None where that step ended no episode."""

    def score(self, episode_data: EpisodeData, train_diagnostics: dict[str, Any]) -> EvalMetrics | None:
        if not episode_data.dones[0]:
            return None
        return EvalMetrics(episode_data.rewards[0], {}, episode_data.episode_id)


class HookLog(LoopCallback):
    """Writes every hook into ``log``."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = log if log is not None else []

    def on_loop_start(self) -> None:
        self.log.append("on_loop_start")

    def on_loop_stop(self) -> None:
        self.log.append("on_loop_stop")

    def on_episode_end(self, episode_id: int, eval_metrics: EvalMetrics | None) -> None:
        score = "absent" if eval_metrics is None else f"{eval_metrics.primary_score:g}"
        self.log.append(f"on_episode_end {episode_id} {score}")

    def on_checkpoint(self, snapshot: Any) -> None:
        self.log.append(f"on_checkpoint {snapshot.eval_metrics.primary_score:g}")

    def on_improvement(self, snapshot: Any) -> None:
        self.log.append(f"on_improvement {snapshot.eval_metrics.primary_score:g}")

    def on_plateau(self, episode_id: int, state: Any) -> None:
        self.log.append(f"on_plateau {episode_id} {state.name}")

    def on_dormant(self, episode_id: int) -> None:
        self.log.append(f"on_dormant {episode_id}")

    def on_degradation(self, episode_id: int, eval_metrics: EvalMetrics) -> None:
        self.log.append(f"on_degradation {episode_id}")

    def on_hyperparam_update(self, old_params: dict[str, Any], new_params: dict[str, Any]) -> None:
        self.log.append(f"on_hyperparam_update {old_params['learning_rate']:g} -> {new_params['learning_rate']:g}")

    def on_stop(self, result: Any) -> None:
        self.log.append(f"on_stop {result.reason.value}")
