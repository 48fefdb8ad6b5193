"""The mean of the cool-down's policies is a candidate, and wins only where it is better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tensor_optix import NoTuning, ReturnEvaluator, RLOptimizer
from tensor_optix.core.convergence import Judgement
from tensor_optix.core.types import LoopState, Verdict
from tensor_optix.core.weight_average import WeightAverage
from tests.core.scripted import ScriptedAgent, ScriptedPipeline, window_of

NOISE = np.random.default_rng(0).normal(0, 1, 500)
COOLING = Judgement(LoopState.COOLING, Verdict.FLAT, False, False, 1, "", cooldown=0.5)
ACTIVE = Judgement(LoopState.ACTIVE, Verdict.FLAT, False, False, 1, "")


class Networked(ScriptedAgent):
    """One weight, which every learn call sets to plus or minus 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = np.array([1.0], dtype=np.float32)

    def learn(self, episode_data):
        self.weight = -self.weight
        return super().learn(episode_data)

    def policy_state(self):
        return {"networks": {"actor": self.weight.copy()}, "policy": np.array(self.policy)}

    def load_policy_state(self, state):
        super().load_policy_state(state)
        self.weight = np.array(state["networks"]["actor"])


class NearZero(ScriptedPipeline):
    """On fresh seeds a policy is worth the more, the nearer its weight is to ``best``."""

    def __init__(self, best: float) -> None:
        super().__init__([100 * min(k, 20) / 20 + NOISE[k] for k in range(200)])
        self.best = best

    def evaluate(self, agent, *, seeds, deterministic=True):
        return window_of([-abs(float(agent.weight[0]) - self.best)], 0)


@pytest.mark.parametrize(("best", "is_averaged"), [(0.0, True), (1.0, False)])
def test_the_averaged_policy_is_handed_out_where_it_is_better_on_fresh_seeds(tmp_path: Path, best, is_averaged):
    agent = Networked()
    opt = RLOptimizer(agent, NearZero(best), ReturnEvaluator(), NoTuning(), checkpoint_dir=tmp_path, seed=1)
    opt.run()
    assert opt.result.reason.value == "converged"
    assert (abs(float(agent.weight[0])) < 0.5) is is_averaged
    assert ("averaged_policies" in opt.best_snapshot.eval_metrics.metrics) is is_averaged
    won_with = -abs(float(agent.weight[0]))  # every window scores far above
    assert (opt.result.score == pytest.approx(won_with)) is is_averaged


def test_only_the_policies_of_a_cool_down_are_averaged():
    agent, average = Networked(), WeightAverage()
    for value, judgement in ((9.0, ACTIVE), (1.0, COOLING), (2.0, COOLING), (6.0, COOLING)):
        agent.weight[0] = value
        average.after(agent, judgement)
    average.put_into(agent)
    assert agent.weight[0] == 3.0
    assert agent.weight.dtype == np.float32
    assert not average.is_ready
    average.after(agent, ACTIVE)  # the cool-down was given up
    assert average.n_policies == 0


def test_the_mean_goes_on_from_its_state():
    agent, one, other = Networked(), WeightAverage(), WeightAverage()
    one.after(agent, COOLING)
    other.load_state_dict(one.state_dict())
    agent.weight[0] = 5.0
    for average in (one, other):
        average.after(agent, COOLING)
    assert one.state_dict()["mean"] == other.state_dict()["mean"] == [np.array([3.0])]


def test_an_agent_without_networks_is_left_out():
    average = WeightAverage()
    for _ in range(10):
        average.after(ScriptedAgent(), COOLING)
    assert not average.is_ready


def test_an_averaged_policy_that_nobody_could_compare_is_not_handed_out(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(WeightAverage, "is_ready", True)
    monkeypatch.setattr(WeightAverage, "put_into", lambda average, agent: setattr(agent, "policy", 99))
    agent = ScriptedAgent()
    opt = RLOptimizer(agent, ScriptedPipeline([500]), ReturnEvaluator(), NoTuning(), checkpoint_dir=tmp_path, seed=1,
                      max_episodes=4)  # fmt: skip
    opt.run()
    assert agent.policy == 3  # of equals the later, among those that were scored
    assert opt.result.score == 500.0
