"""Agents whose skill is a number, and a world that pays it out: every outcome of a trial is known beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tensor_optix import BaseAgent, BasePipeline, EnsembleAgent, EpisodeData, HyperparamSet, Param, Space

LEARNED = 10.0
WINDOW = 20


class SkilledAgent(BaseAgent):
    """Learns 1 a window up to a skill of 10; with another learning rate than 0.1 it gets ``bonus`` further."""

    def __init__(self, bonus: float = 0.0, *, name: str = "") -> None:
        self.skill, self.bonus, self.name = 0.0, bonus, name
        self.params: dict[str, Any] = {"learning_rate": 0.1}
        self.learned: list[int] = []
        self.acted = self.torn_down = 0

    @property
    def param_space(self) -> Space:
        return Space(learning_rate=Param("log_float", 0.01, 1.0, default=0.1, tunable=True))

    def act(self, observation: Any) -> int:
        return 0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        self.learned.append(episode_data.length)
        reach = LEARNED + (self.bonus if self.params["learning_rate"] != 0.1 else 0.0)
        self.skill += max(0.0, min(1.0, reach - self.skill))
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet(dict(self.params))

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        self.params = dict(hyperparams.params)

    def save_weights(self, path: str) -> None:
        raise AssertionError("saved by its state")

    def load_weights(self, path: str) -> None:
        raise AssertionError("loaded by its state")

    def policy_state(self) -> dict[str, Any]:
        return {"skill": np.array(self.skill)}

    def load_policy_state(self, state: dict[str, Any]) -> None:
        self.skill = float(state["skill"])

    def state_dict(self) -> dict[str, Any]:
        return {"skill": np.array(self.skill), "params": dict(self.params)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.skill, self.params = float(state["skill"]), dict(state["params"])

    def teardown(self) -> None:
        self.torn_down += 1


class PayingWorld(BasePipeline):
    """Every step ends an env episode whose return is the skill of whoever acts, plus noise.

    An evaluation episode has ``evaluation_length`` steps. The world counts what it is asked for.
    """

    def __init__(self, *, evaluation_length: int = 1, has_evaluation: bool = True) -> None:
        self.evaluation_length, self.has_evaluation = evaluation_length, has_evaluation
        self.agent: Any = None
        self.windows = self.collected_steps = self.evaluated_steps = 0
        self.actors: list[Any] = []

    def setup(self) -> None: ...

    def teardown(self) -> None: ...

    @property
    def is_live(self) -> bool:
        return False

    def set_agent(self, agent: BaseAgent) -> None:
        self.agent = agent

    def episodes(self) -> Iterator[EpisodeData]:
        while True:
            noise = 0.01 * np.sin(7.0 * self.windows + np.arange(WINDOW))
            self.windows += 1
            self.collected_steps += WINDOW
            self.actors.append(self.agent)
            yield paid(skill_of(self.agent) + noise, self.windows - 1)

    def evaluate(
        self, agent: Any, *, seeds: Sequence[int], deterministic: bool = True
    ) -> EpisodeData | None:
        if not self.has_evaluation:
            return None
        self.evaluated_steps += self.evaluation_length * len(seeds)
        return paid(np.full(len(seeds), skill_of(agent)), 0, length=self.evaluation_length)

    def state_dict(self) -> dict[str, Any]:
        return {"windows": self.windows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.windows = state["windows"]


def skill_of(agent: Any) -> float:
    """An ensemble is as skilled as the best of those that have a say in it."""
    if not isinstance(agent, EnsembleAgent):
        return float(agent.skill)
    return max(float(member.agent.skill) for member in agent.policy_manager.members.working if member.weight)


def paid(returns: np.ndarray, number: int, *, length: int = 1) -> EpisodeData:
    """A window of env episodes of ``length`` steps each, paid at their end."""
    n = len(returns) * length
    ends = [row % length == length - 1 for row in range(n)]
    return EpisodeData(
        observations=np.zeros((n, 1)), actions=np.zeros(n, int),
        rewards=[float(returns[row // length]) if end else 0.0 for row, end in enumerate(ends)],
        terminated=ends, truncated=[False] * n, infos=[{}] * n, episode_id=number,
        episode_returns=[float(r) for r in returns], episode_lengths=[length] * len(returns),
    )  # fmt: skip
