"""A policy that has become worse: alarm, confirmation, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import (
    BackoffOptimizer,
    LoopCallback,
    MomentumOptimizer,
    NonFiniteError,
    RLOptimizer,
    StopReason,
)
from tensor_optix.core.fall_watch import FallWatch
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import FirstReward, ScheduledAgent, ScriptedAgent, ScriptedPipeline, window_of

NOISE = np.random.default_rng(0).normal(0, 1, 500)


class World(ScriptedPipeline):
    """A window is worth what ``worth`` says of the policy that collects it, with noise; so is an env episode."""

    def __init__(self, worth: Any, *, can_evaluate: bool = True) -> None:
        super().__init__([0])
        self.worth = worth
        self.can_evaluate = can_evaluate
        self.evaluations = 0

    def episodes(self):
        while True:
            self.collected += 1
            value = self.worth(self.agent.policy) + NOISE[self.collected]
            yield window_of([float(value)], self.collected - 1)

    def evaluate(self, agent, *, seeds, deterministic=True):
        if not self.can_evaluate:
            return None
        self.evaluations += 1
        return window_of([float(self.worth(agent.policy)) + NOISE[seeds[0] % 500]], 0)


class OffPolicy(ScriptedAgent):
    @property
    def is_on_policy(self) -> bool:
        return False


class Told(LoopCallback):
    def __init__(self) -> None:
        self.falls: list[int] = []
        self.restored: list[float] = []

    def on_degradation(self, episode_id, eval_metrics):
        self.falls.append(episode_id)

    def on_rollback(self, snapshot):
        self.restored.append(snapshot.rank)


def falls_at(policy: int) -> Any:
    return lambda now: 100.0 if now < policy else 20.0


@pytest.fixture
def run(tmp_path: Path):
    def make(world: World, *, agent: ScriptedAgent | None = None, **keywords: Any) -> tuple[RLOptimizer, Told]:
        told = Told()
        settings = {"max_episodes": 40, "evaluation_episodes": 0, "rollback_on_degradation": True, **keywords}
        settings["callbacks"] = [told, *settings.get("callbacks", ())]
        opt = RLOptimizer(agent or ScriptedAgent(), world, FirstReward(), checkpoint_dir=tmp_path, seed=1,
                          **settings)  # fmt: skip
        opt.run()
        return opt, told

    return make


def events(opt: RLOptimizer) -> list[dict[str, Any]]:
    return RunDirectory.open(FileSystem(), opt.run_dir).read_events()


def test_a_confirmed_fall_brings_the_best_policy_back_with_half_the_learning_rate(run):
    agent = ScriptedAgent()
    opt, told = run(World(falls_at(30)), agent=agent, max_episodes=45)
    assert len(told.falls) == 1
    assert 31 <= told.falls[0] <= 36  # six checks
    assert told.restored == [max(100 + NOISE[1:31])]
    assert agent.params["learning_rate"] in (0.05, 0.1)  # what the best snapshot brought
    back = [event for event in events(opt) if event["kind"] == "rolled back"]
    assert back[0]["evidence"]["learning_rate"] == 0.05


def test_a_learning_rate_under_a_schedule_is_left_to_it(run):
    agent = ScheduledAgent()
    opt, told = run(World(falls_at(30)), agent=agent, max_episodes=45)
    assert len(told.restored) == 1
    back = [event for event in events(opt) if event["kind"] == "rolled back"]
    assert back[0]["evidence"]["learning_rate"] == 0.1
    assert agent.params["learning_rate"] == 0.1


class Probed(ScriptedAgent):
    def __init__(self) -> None:
        super().__init__()
        self.params = {"learning_rate": 0.1, "width": 0.5}


@pytest.mark.parametrize("make", [BackoffOptimizer, MomentumOptimizer])
def test_an_experiment_that_made_the_best_policy_is_not_brought_back(run, make):
    agent, seen = Probed(), []

    class Looks(Told):
        def on_rollback(self, snapshot):
            seen.append((snapshot.hyperparams.params["width"], agent.params["width"]))

    tuner = make(param_bounds={"width": (0.0, 1.0)})
    run(World(falls_at(30)), agent=agent, max_episodes=70, optimizer=tuner, callbacks=[Looks()])
    assert len(seen) >= 1  # although these tuners hardly ever stop probing
    assert any(made_by != 0.5 for made_by, _ in seen)
    assert all(restored == 0.5 for _, restored in seen)


def test_the_comparison_is_paired_and_its_steps_are_steps_of_the_run(run):
    world = World(falls_at(30))
    opt, told = run(world, max_episodes=40)
    assert len(told.falls) == 1
    assert world.evaluations == 20
    assert opt.result.env_steps == 40 + 20


def test_scores_that_fall_while_the_policy_is_as_good_as_ever_bring_nothing_back(run):
    class Unlucky(World):
        def evaluate(self, agent, *, seeds, deterministic=True):
            self.evaluations += 1
            return window_of([100.0 + NOISE[seeds[0] % 500]], 0)

    opt, told = run(Unlucky(falls_at(30)))
    assert (told.falls, told.restored) == ([], [])
    assert "not degraded" in [event["kind"] for event in events(opt)]


def test_after_three_rollbacks_the_run_ends_as_collapsed(run):
    opt, told = run(World(falls_at(15)), max_episodes=400)
    assert len(told.restored) == 3
    assert opt.result.reason is StopReason.COLLAPSED
    assert "3 rollbacks" in opt.result.explanation


def test_without_evaluation_an_alarm_that_persists_is_enough(run):
    _opt, told = run(World(falls_at(30), can_evaluate=False), max_episodes=40)
    assert len(told.restored) == 1
    assert told.falls[0] >= 36


def test_without_the_setting_a_fall_is_only_told_and_costs_nothing(run):
    world = World(falls_at(30))
    _opt, told = run(world, rollback_on_degradation=False, max_episodes=45)
    assert len(told.falls) == 1
    assert told.restored == []
    assert world.evaluations == 0


def test_an_off_policy_agent_goes_on_and_its_best_policy_is_handed_out(run):
    agent = OffPolicy()
    _opt, told = run(World(falls_at(30)), agent=agent, max_episodes=45)
    assert told.restored == []
    assert len(told.falls) == 1
    assert agent.policy < 30  # at the end


def test_negative_returns_raise_no_alarm(run):
    _opt, told = run(World(lambda policy: -200.0), max_episodes=300, stuck_after=1000)
    assert told.falls == []


def test_a_threshold_of_ones_own_is_taken_at_its_word(run):
    _opt, told = run(World(lambda policy: 100.0 if policy != 20 else 80.0), degradation_threshold=0.9,
                    rollback_on_degradation=False)  # fmt: skip
    assert told.falls == [20]


def test_the_present_policy_is_untouched_by_a_comparison_that_confirms_nothing(tmp_path):
    from tensor_optix import CheckpointRegistry
    from tensor_optix.core.types import EvalMetrics, HyperparamSet

    agent, registry = ScriptedAgent(), CheckpointRegistry(tmp_path)
    best = registry.save(agent, EvalMetrics(1.0, {}, 0), HyperparamSet({"learning_rate": 9.0}))
    agent.policy, agent.params = 7, {"learning_rate": 0.3}
    watch = FallWatch(is_literal=False, is_paired=True)
    decision = watch.compared(agent, best, registry, list(range(10)), lambda agent, seed: float(seed))
    assert decision is not None
    assert not decision.is_confirmed
    assert (agent.policy, agent.params) == (7, {"learning_rate": 0.3})


def test_numbers_that_blow_up_bring_the_best_policy_back_at_most_three_times(run):
    class Exploding(ScriptedAgent):
        def learn(self, episode_data):
            if self.policy >= 5:
                raise NonFiniteError("the loss is NaN")
            return super().learn(episode_data)

    with pytest.raises(NonFiniteError):
        run(World(lambda policy: float(policy)), agent=Exploding(), max_episodes=100)


def test_a_policy_destroyed_by_its_own_best_window_is_never_what_is_restored(run):
    agent = ScriptedAgent()
    run(World(lambda policy: 100.0 if policy == 10 else 0.0), agent=agent, max_episodes=14)
    assert agent.policy == 10
