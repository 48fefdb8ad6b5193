"""Trouble in learning is named and treated, unless one argument says no."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tensor_optix import RLOptimizer
from tensor_optix.core.diagnosis import Diagnosis
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.optimizers import BackoffOptimizer
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline


class Spiking(ScriptedAgent):
    """The KL of its tenth update is far beyond any target."""

    def learn(self, episode_data):
        super().learn(episode_data)
        return {"approx_kl": 1.0 if self.policy == 10 else 0.01}


def trained(out: Path, agent: ScriptedAgent, **settings) -> list[dict]:
    opt = RLOptimizer(agent, ScriptedPipeline([1]), FirstReward(), checkpoint_dir=out, seed=1,
                      evaluation_episodes=0, **{"max_episodes": 12, **settings})  # fmt: skip
    opt.run()
    return [e for e in RunDirectory.open(FileSystem(), opt.run_dir).read_events() if e["kind"] == "diagnosed"]


def test_a_policy_that_moved_too_far_is_named_and_learns_more_slowly(tmp_path):
    agent = Spiking()
    events = trained(tmp_path, agent)
    assert [(event["window"], event["evidence"]["rule"]) for event in events] == [(9, "KL_TOO_HIGH")]
    assert "learn 10 with 0.05" in agent.log


def test_the_kl_of_an_agent_that_holds_it_at_a_target_of_its_own_is_left_to_it(tmp_path):
    agent = Spiking()
    agent.params["target_kl"] = 0.02
    assert trained(tmp_path, agent) == []
    agent = Spiking()
    agent.params["target_kl"] = 0.0  # which switches such a controller off
    assert len(trained(tmp_path, agent)) == 1


def test_a_tuner_moves_base_values_and_never_takes_a_remedy_for_one(tmp_path):
    agent = Spiking()
    tuner = BackoffOptimizer({"learning_rate": (0.05, 0.2)})  # probes at every tick
    assert trained(tmp_path, agent, optimizer=tuner, max_episodes=36, min_episodes_before_dormant=100)
    rates = [float(line.split()[-1]) for line in agent.log if "learn" in line]
    assert min(rates[:10]) >= 0.05
    assert min(rates) < 0.05  # the remedy was in force
    assert min(rates) >= 0.05 / 2
    assert min(rates[25:]) >= 0.05  # and was taken back


def test_one_argument_switches_it_off(tmp_path):
    agent = Spiking()
    assert trained(tmp_path, agent, diagnostics=False) == []
    assert "learn 10 with 0.1" in agent.log


def test_a_threshold_of_none_switches_one_symptom_off(tmp_path):
    assert trained(tmp_path, Spiking(), diag_target_kl=None) == []


class Squashed(ScriptedAgent):
    acts_in_unit_box = True


@pytest.mark.parametrize(("size", "is_told"), [(1.0, True), (0.9, False)])
def test_actions_that_are_all_at_their_bounds_are_named(size, is_told):
    agent, diagnosis = Squashed(), Diagnosis.chosen_by(LoopConfig())
    actions = size * np.sign(np.random.default_rng(0).normal(size=(64, 2)))
    found = [name for window in range(8) for name, _ in diagnosis.after(window, agent, {}, actions)]
    assert ("SATURATED_ACTIONS" in found) is is_told
    assert agent.params["learning_rate"] == 0.1
    with diagnosis.treating(agent):
        assert (agent.params["learning_rate"] < 0.1) is is_told
    assert agent.params["learning_rate"] == 0.1
    assert Diagnosis(None).after(0, agent, {}, actions) == []


@pytest.mark.parametrize(("settings", "resets"), [({}, False), ({"diag_epsilon_score_threshold": 10.0}, True)])
def test_exploration_is_raised_again_only_where_a_threshold_was_chosen(settings, resets):
    agent = ScriptedAgent()
    agent.params = {"epsilon": 0.05, "epsilon_min": 0.05}
    diagnosis = Diagnosis.chosen_by(LoopConfig(**settings))
    for window in range(30):
        diagnosis.after(window, agent, {"episode_reward": -100.0})
    assert (agent.params["epsilon"] > 0.05) is resets
