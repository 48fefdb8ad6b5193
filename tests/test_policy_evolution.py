"""Policy evolution inside a run: trials, their steps, their proof, and how the run ends."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import (
    CheckpointRegistry,
    EnsembleAgent,
    EvalMetrics,
    LoopCallback,
    MetaController,
    PolicyManager,
    RLOptimizer,
    StopReason,
)
from tensor_optix.core.policy.proof import proof_of, threshold_of
from tensor_optix.core.training_states import TrainingStates
from tensor_optix.optimizers.no_tuning import NoTuning
from tests.core.policy.worlds import WINDOW, PayingWorld, SkilledAgent, paid

SETTINGS: dict[str, Any] = {
    "dormant_threshold": 12, "plateau_threshold": 5, "stuck_after": 14, "evaluation_episodes": 0, "seed": 1,
}  # fmt: skip


class Evolution:
    """One run with a PolicyManager, ready to be looked at."""

    def __init__(
        self, tmp_path: Path, *, bonus: float = 0.0, world: PayingWorld | None = None, factory: bool = True,
        meta: MetaController | None = None, max_spawns: int | None = 3, max_ensemble_size: int | None = None,
        **settings: Any,
    ) -> None:  # fmt: skip
        self.world = world or PayingWorld()
        self.agent, self.made = SkilledAgent(bonus, name="primary"), list[SkilledAgent]()
        self.printed, self._bonus = io.StringIO(), bonus
        self.pm = PolicyManager(
            CheckpointRegistry(tmp_path / "unused"), max_spawns=max_spawns, max_ensemble_size=max_ensemble_size,
            stream=self.printed,
        )  # fmt: skip
        self.callback = self.pm.as_callback(
            self.agent, agent_factory=self.make if factory else None, meta_controller=meta
        )
        callbacks = [self.callback, *settings.pop("callbacks", [])]
        self.opt = RLOptimizer(self.agent, self.world, optimizer=NoTuning(), callbacks=callbacks,
                               checkpoint_dir=tmp_path / "runs", **{**SETTINGS, **settings})  # fmt: skip

    def make(self) -> SkilledAgent:
        self.made.append(SkilledAgent(self._bonus, name=f"fork {len(self.made)}"))
        return self.made[-1]

    @property
    def trials(self) -> list[dict[str, Any]]:
        return self.pm.training_report()["trials"]


# -- what a spawn does ---------------------------------------------------------------------------------------------


def test_three_spawns_give_three_variants_that_acted_and_learned(tmp_path):
    run = Evolution(tmp_path)
    run.opt.run()
    variants = run.made[::2]
    assert len(variants) == 3
    for number, variant in enumerate(variants):
        assert variant in run.world.actors
        assert sum(variant.learned) == run.trials[number]["variant_steps"] > 0


def test_a_variant_differs_in_its_hyperparameters_and_the_control_does_not(tmp_path):
    run = Evolution(tmp_path, max_spawns=2)
    run.opt.run()
    assert all(variant.params["learning_rate"] != 0.1 for variant in run.made[::2])
    assert all(control.params["learning_rate"] == 0.1 for control in run.made[1::2])


def test_variant_and_control_have_equal_steps_and_all_steps_are_counted(tmp_path):
    run = Evolution(tmp_path)
    run.opt.run()
    assert [trial["variant_steps"] for trial in run.trials] == [trial["control_steps"] for trial in run.trials]
    in_trials = sum(trial["evaluation_steps"] for trial in run.trials)
    assert run.opt.result.env_steps == run.world.collected_steps + in_trials
    assert run.world.evaluated_steps == in_trials + run.opt.result.evaluation_steps
    assert in_trials > 0


def test_a_trial_uses_at_most_a_quarter_of_the_steps_so_far(tmp_path):
    run = Evolution(tmp_path, max_spawns=4, world=PayingWorld(evaluation_length=7))
    run.opt.run()
    before = run.opt.result.env_steps
    for trial in reversed(run.trials):
        used = trial["variant_steps"] + trial["control_steps"] + trial["evaluation_steps"]
        before -= used
        assert 0 < used <= 0.25 * before
    assert before % WINDOW == 0


def test_an_equally_good_variant_is_not_adopted_and_its_memory_is_released(tmp_path):
    run = Evolution(tmp_path)
    run.opt.run()
    assert not any(trial["is_adopted"] for trial in run.trials)
    assert run.pm.ensemble_size == 1
    assert [fork.torn_down for fork in run.made] == [1] * 6


def test_a_better_variant_is_adopted_goes_on_and_ends_up_in_the_agent_of_the_user(tmp_path):
    run = Evolution(tmp_path, bonus=5.0, max_spawns=1)
    run.opt.run()
    (trial,) = run.trials
    assert trial["is_adopted"]
    assert trial["gain"] == pytest.approx(1.0)
    assert run.pm.ensemble_size == 2
    assert run.agent.skill == 15.0 == run.made[0].skill
    assert sum(run.made[0].learned) > trial["variant_steps"]
    assert run.made[0].torn_down == 0
    assert run.made[1].torn_down == 1


def test_the_ensemble_never_outgrows_its_limit_and_never_loses_the_primary(tmp_path):
    run = Evolution(tmp_path, bonus=5.0, max_spawns=1, max_ensemble_size=2)
    idle = SkilledAgent(name="idle")
    run.pm.add_agent(idle, weight=0.5)
    run.opt.run()
    assert run.trials[0]["is_adopted"]
    assert [member.agent.name for member in run.pm.members] == ["primary", "fork 0"]
    assert idle.torn_down == 1
    assert run.pm.status()["prune_count"] == 1


def test_an_ensemble_that_is_not_proven_better_is_left_to_its_best_member(tmp_path):
    run = Evolution(tmp_path, bonus=5.0, max_spawns=1)
    run.opt.run()
    assert [agent["weight"] for agent in run.pm.status()["agents"]] == [0.0, 1.0]


def test_an_ensemble_that_is_proven_better_keeps_all_its_members(tmp_path):
    class StrongTogether(PayingWorld):
        def evaluate(self, agent, *, seeds, deterministic=True):
            if not isinstance(agent, EnsembleAgent):
                return super().evaluate(agent, seeds=seeds)
            return paid(np.full(len(seeds), 99.0), 0)

    run = Evolution(tmp_path, bonus=5.0, max_spawns=1, world=StrongTogether())
    run.opt.run()
    weights = [agent["weight"] for agent in run.pm.status()["agents"]]
    assert sum(weights) == pytest.approx(2.0)  # by recorded scores, as they were


def test_nothing_is_adopted_where_nothing_can_be_compared(tmp_path):
    run = Evolution(tmp_path, bonus=5.0, max_spawns=1, world=PayingWorld(has_evaluation=False))
    run.opt.run()
    assert not run.trials[0]["is_adopted"]
    assert "no environment to evaluate on" in run.trials[0]["text"]


# -- how the run ends ----------------------------------------------------------------------------------------------


def test_the_report_is_printed_in_the_documented_layout(tmp_path):
    run = Evolution(tmp_path)
    run.opt.run()
    rule = "━" * 54
    lines = run.printed.getvalue().splitlines()
    assert lines[:4] == [rule, "  Training Complete", "  Reason           : Spawn budget exhausted", rule]
    assert lines[4] == f"  Best score       : {run.opt.result.score:.4f}"
    assert lines[5:7] == ["  Val score        : n/a", "  Generalization   : n/a"]
    assert lines[7:10] == ["  Spawns used      : 3 / 3", "  Pruned agents    : 0", "  Ensemble size    : 1"]
    assert lines[-1] == rule
    assert run.printed.getvalue().count("Training Complete") == 1


def test_the_reason_of_the_run_is_why_it_became_dormant_not_that_a_fork_was_over(tmp_path):
    run = Evolution(tmp_path)
    run.opt.run()
    assert run.opt.result.reason in (StopReason.CONVERGED, StopReason.CEILING, StopReason.STUCK)


def test_an_unlimited_budget_ends_with_the_first_variant_that_is_not_better(tmp_path):
    run = Evolution(tmp_path, max_spawns=None)
    run.opt.run()
    assert run.pm.spawn_count == 1
    assert "No variant was proven better" in run.printed.getvalue()


def test_a_stop_function_of_the_user_is_called_once_the_budget_is_used_up(tmp_path):
    called: list[str] = []
    run = Evolution(tmp_path, max_spawns=1)
    run.callback.set_stop_fn(lambda: called.append("stop"))
    run.opt.run()
    assert called == ["stop"]


def test_a_second_run_of_the_same_optimizer_works_and_acts_with_the_agent_of_the_user(tmp_path):
    run = Evolution(tmp_path, bonus=5.0, max_spawns=1)
    run.opt.run()
    n_windows = run.world.windows
    run.opt.run()
    assert set(run.world.actors[n_windows:]) == {run.agent}


def test_a_run_that_is_stopped_in_mid_trial_forgets_the_trial(tmp_path):
    run = Evolution(tmp_path)

    class StopInTrial(LoopCallback):
        def on_episode_end(self, episode_id: int, eval_metrics: EvalMetrics | None) -> None:
            if run.made and run.made[0].learned:
                run.opt.stop()

    run.opt.add_callback(StopInTrial())
    run.opt.run()
    assert run.opt.result.reason is StopReason.STOPPED
    assert [fork.torn_down for fork in run.made] == [1, 1]
    assert run.agent.skill == 10.0


# -- without a factory, and with a MetaController ------------------------------------------------------------------


def test_without_a_factory_a_spawn_happens_in_place_and_counts(tmp_path):
    run = Evolution(tmp_path, factory=False, bonus=3.0, max_spawns=2)
    run.opt.run()
    assert run.pm.spawn_count == 2
    assert set(run.world.actors) == {run.agent}
    assert run.agent.skill == 13.0


def test_in_place_and_without_a_budget_spawning_ends_when_it_has_gained_nothing(tmp_path):
    run = Evolution(tmp_path, factory=False, max_spawns=None, max_episodes=400)
    run.opt.run()
    assert run.opt.result.reason is not StopReason.MAX_EPISODES
    assert run.pm.spawn_count >= 1


def test_no_op_of_the_meta_controller_ends_the_run(tmp_path):
    run = Evolution(tmp_path, meta=MetaController(improvement_threshold=-1.0))
    run.opt.run()
    assert run.pm.spawn_count == 0


def test_spawn_of_the_meta_controller_spawns(tmp_path):
    run = Evolution(tmp_path, meta=MetaController(), max_spawns=1)
    run.opt.run()
    assert run.pm.spawn_count == 1


# -- the registry --------------------------------------------------------------------------------------------------


def test_the_manager_shares_the_registry_of_the_run_and_is_never_stale(tmp_path):
    run = Evolution(tmp_path)
    assert run.pm.registry is run.opt.registry
    run.opt.run()
    assert run.pm.ranked_snapshots[0]["snapshot_id"] == run.opt.best_snapshot.snapshot_id
    assert not (tmp_path / "unused").exists()


def test_a_callback_that_is_added_later_is_wired_too(tmp_path):
    agent = SkilledAgent()
    opt = RLOptimizer(agent, PayingWorld(), checkpoint_dir=tmp_path, **SETTINGS)
    pm = PolicyManager(CheckpointRegistry(tmp_path / "other"))
    opt.add_callback(pm.as_callback(agent))
    assert pm.registry is opt.registry


def test_the_stop_function_of_an_optimizer_says_which_run_a_callback_is_for(tmp_path):
    agent, other = SkilledAgent(), SkilledAgent()
    opt = RLOptimizer(agent, PayingWorld(), checkpoint_dir=tmp_path / "a", **SETTINGS)
    callback = PolicyManager(opt.registry, max_spawns=0, stream=io.StringIO()).as_callback(agent)
    callback.set_stop_fn(opt.stop)
    opt.add_callback(callback)  # as some do besides: it is there once all the same
    assert opt._parts.callbacks._callbacks == [callback]
    elsewhere = RLOptimizer(other, PayingWorld(), checkpoint_dir=tmp_path / "b", **SETTINGS)
    callback.set_stop_fn(elsewhere.stop)
    assert elsewhere._parts.callbacks._callbacks == []


def test_a_callback_for_each_trial_of_a_search_leaves_one_primary(tmp_path):
    pm = PolicyManager(CheckpointRegistry(tmp_path))
    for _ in range(4):
        pm.as_callback(SkilledAgent())
    assert pm.ensemble_size == 1


# -- chance --------------------------------------------------------------------------------------------------------

AT_MOST = 0.05
N_RUNS, N_FORKS = 100_000, 4
BOUND = AT_MOST + 3.1 * (AT_MOST * (1 - AT_MOST) / N_RUNS) ** 0.5  # exceeded once in a thousand where the rate is 5 %


def differences(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Of the scores of identical forks on common seeds: whatever the episodes are like, symmetric about 0."""
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "heavy tails":
        return rng.standard_t(3, shape)
    solved = rng.random((2, *shape)) < 0.9  # every episode is either solved or lost
    return 500.0 * solved[0] - 500.0 * solved[1] + 1e-6 * rng.standard_normal(shape)


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "all or nothing"])
@pytest.mark.parametrize("n_pairs", [10, 30])
def test_four_identical_forks_are_adopted_in_at_most_a_twentieth_of_all_runs(kind, n_pairs):
    d = differences(kind, (N_RUNS // 4 if n_pairs == 30 else N_RUNS, N_FORKS, n_pairs), np.random.default_rng(5))
    t = d.mean(axis=-1) / (d.std(axis=-1, ddof=1) / n_pairs**0.5)
    is_adopted = t > threshold_of(n_pairs, spawn=1, max_spawns=N_FORKS)
    rate = float(is_adopted.any(axis=-1).mean())
    assert rate <= BOUND
    assert kind != "normal" or rate > 0.045  # the level is used, not given away
    for run in range(25):  # and the code decides as the numbers above do
        for fork in range(N_FORKS):
            proof = proof_of(d[run, fork].tolist(), [0.0] * n_pairs, spawn=fork + 1, max_spawns=N_FORKS)
            assert proof.is_adopted == is_adopted[run, fork]


# -- resume --------------------------------------------------------------------------------------------------------


class CopyAt(LoopCallback):
    """What a process that is killed after one of these windows leaves behind, below ``where``."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.windows: set[int] = set()
        self.run: Evolution | None = None

    def on_episode_end(self, episode_id: int, eval_metrics: EvalMetrics | None) -> None:
        assert self.run is not None
        forked = len(self.run.made) > 0
        if forked and len(self.windows) < 6:
            self.windows.add(episode_id)
            shutil.copytree(self.run.opt.run_dir, self.where / str(episode_id) / "runs" / self.run.opt.run_dir.name)


def outcome_of(run: Evolution) -> tuple[Any, ...]:
    skills = [member["weight"] for member in run.pm.status()["agents"]]
    return (run.opt.result.env_steps, run.opt.result.windows, run.agent.skill, run.agent.params, skills,
            [{k: v for k, v in trial.items() if k != "text"} for trial in run.trials])  # fmt: skip


@pytest.mark.parametrize("bonus", [0.0, 5.0])
def test_a_run_that_is_killed_anywhere_in_a_trial_goes_on_as_if_nothing_had_happened(bonus, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingStates, "is_due", True)
    copies = CopyAt(tmp_path / "killed")
    copies.run = whole = Evolution(tmp_path / "whole", bonus=bonus, max_spawns=2, callbacks=[copies])
    whole.opt.run()
    monkeypatch.undo()
    acting = {whole.world.actors[window].name for window in copies.windows}
    assert {"fork 0", "fork 1"} <= acting  # killed while the variant trained, and while its control did
    for window in copies.windows:
        resumed = Evolution(copies.where / str(window), bonus=bonus, max_spawns=2, resume=True)
        resumed.opt.run()
        assert outcome_of(resumed) == outcome_of(whole), window
