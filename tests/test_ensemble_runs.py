"""An ensemble in a run: validation, external scores, snapshots, resume, and members that fail on the way."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import CheckpointRegistry, EnsembleAgent, LoopCallback, PolicyManager, RLOptimizer, StopReason
from tensor_optix.core.training_states import TrainingStates
from tensor_optix.optimizers.no_tuning import NoTuning
from tests.core.policy.worlds import PayingWorld, SkilledAgent, paid, skill_of

WINDOWS = 8


class Follower(SkilledAgent):
    """Off-policy: learns from what the ensemble does, half as fast."""

    @property
    def is_on_policy(self) -> bool:
        return False

    def learn(self, episode_data):
        self.learned.append(episode_data.length)
        self.skill += 0.5
        return {}


class Ensemble:
    """One run of a leader and a follower, ready to be looked at."""

    def __init__(self, where: Path, *, follower: SkilledAgent | None = None, **settings: Any) -> None:
        self.leader, self.follower, self.world = SkilledAgent(), follower or Follower(), PayingWorld()
        self.pm = PolicyManager(CheckpointRegistry(where / "unused"))
        self.pm.add_agent(self.leader, weight=1.0)
        self.pm.add_agent(self.follower, weight=1.0)
        self.agent = EnsembleAgent(self.pm, primary_agent=self.leader)
        callbacks = [self.pm.as_callback(self.leader), *settings.pop("callbacks", [])]
        self.opt = RLOptimizer(
            self.agent, self.world, optimizer=NoTuning(), callbacks=callbacks, checkpoint_dir=where / "runs",
            **{"max_episodes": WINDOWS, "evaluation_episodes": 0, "seed": 1, **settings},
        )  # fmt: skip

    @property
    def outcome(self) -> tuple[Any, ...]:
        snapshots = [(s.rank, s.episode_id) for s in self.opt.registry.snapshots]
        return (self.leader.skill, self.follower.skill, self.opt.result.score, self.opt.result.env_steps, snapshots)

    def kept(self) -> list[tuple[float, float]]:
        """(what it was chosen by, the skill of the ensemble that comes back) of every snapshot."""
        found = []
        for snapshot in self.opt.registry.snapshots:
            self.opt.registry.load(self.agent, snapshot)
            found.append((snapshot.rank, skill_of(self.agent)))
        return found


class Harder(PayingWorld):
    """Held-out data on which everybody scores three less."""

    def evaluate(self, agent, *, seeds, deterministic=True):
        data = super().evaluate(agent, seeds=seeds)
        data.rewards[:] = [reward - 3.0 for reward in data.rewards]
        data.episode_returns[:] = [value - 3.0 for value in data.episode_returns]
        return data


def test_validation_scores_the_ensemble_that_is_kept_and_never_trains_it(tmp_path):
    held_out = Harder()
    run = Ensemble(tmp_path, val_pipeline=held_out)
    run.opt.run()
    best = run.opt.best_snapshot.eval_metrics
    assert best.metrics["val_score"] == best.primary_score == run.opt.result.score
    assert best.generalization_gap == pytest.approx(3.0, abs=0.05)
    assert held_out.windows == 0
    assert held_out.evaluated_steps > 0
    assert len(run.leader.learned) == len(run.follower.learned) == WINDOWS
    assert all(rank == pytest.approx(skill - 3.0) for rank, skill in run.kept())


def test_an_external_score_sees_the_ensemble_and_decides_what_is_kept(tmp_path):
    seen: list[Any] = []

    def score(agent: Any) -> float:
        seen.append(agent)
        return -abs(skill_of(agent) - 4.0)

    run = Ensemble(tmp_path, checkpoint_score_fn=score)
    run.opt.run()
    assert all(agent is run.agent for agent in seen)
    assert run.opt.result.score == 0.0
    assert (run.leader.skill, run.follower.skill) == (4.0, 2.0)  # the best one is back in both members
    assert all(rank == -abs(skill - 4.0) for rank, skill in run.kept())


class CopyAt(LoopCallback):
    """What a process that is killed after window 3 leaves behind."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.run: Ensemble | None = None

    def on_episode_end(self, episode_id, eval_metrics):
        if episode_id == 3:
            shutil.copytree(self.run.opt.run_dir, self.where / "runs" / self.run.opt.run_dir.name)


@pytest.mark.parametrize("outside", ["nothing", "validation", "an external score"])
def test_an_ensemble_that_is_killed_goes_on_as_if_nothing_had_happened(outside, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingStates, "is_due", True)

    def settings() -> dict[str, Any]:
        return {"nothing": {}, "validation": {"val_pipeline": Harder()},
                "an external score": {"checkpoint_score_fn": lambda agent: -abs(skill_of(agent) - 4.0)}}[outside]

    copy = CopyAt(tmp_path / "killed")
    copy.run = whole = Ensemble(tmp_path / "whole", callbacks=[copy], **settings())
    whole.opt.run()
    resumed = Ensemble(tmp_path / "killed", resume=True, **settings())
    resumed.opt.run()
    assert resumed.outcome == whole.outcome
    assert len(resumed.leader.learned) == WINDOWS - 3  # window 3 was collected, and is learned from again


def test_a_member_that_fails_while_the_run_goes_on_is_left_out_and_the_rest_go_on(tmp_path):
    class Fails(Follower):
        def learn(self, episode_data):
            if len(self.learned) == 2:
                raise RuntimeError("lost a wheel")
            return super().learn(episode_data)

    run = Ensemble(tmp_path, follower=Fails())
    run.opt.run()
    leader, follower = run.pm.status()["agents"]
    assert (leader["fault"], follower["fault"]) == ("", "RuntimeError: lost a wheel")
    assert (len(run.leader.learned), len(run.follower.learned)) == (WINDOWS, 2)
    assert run.opt.result.reason is StopReason.MAX_EPISODES


def test_when_all_members_have_failed_the_primary_goes_on_alone(tmp_path):
    class Mute(Follower):
        def action_probs(self, observation):
            raise RuntimeError("mute")

        def act_batch(self, observations, *, rng, deterministic=False):
            return np.zeros(len(observations), int), {}

    class Acting(PayingWorld):
        """Has the agent act, and pays what the primary can do."""

        def episodes(self):
            for number in range(100):
                actions, _ = self.agent.act_batch(np.zeros((3, 1)), rng=np.random.default_rng(0))
                assert actions.tolist() == [0, 0, 0]
                yield paid(np.full(3, leader.skill), number)

    leader = Mute()
    pm = PolicyManager(CheckpointRegistry(tmp_path / "unused"))
    pm.add_agent(leader)
    pm.add_agent(Mute())
    opt = RLOptimizer(EnsembleAgent(pm, primary_agent=leader), Acting(), optimizer=NoTuning(),
                      checkpoint_dir=tmp_path, max_episodes=3, evaluation_episodes=0)  # fmt: skip
    opt.run()
    assert all(agent["fault"] == "RuntimeError: mute" for agent in pm.status()["agents"])
    assert len(leader.learned) == 3
