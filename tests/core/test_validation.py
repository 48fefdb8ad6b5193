"""What policies are chosen by: validation and external scores, which training never sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import ConfigError, LoopCallback, ReturnEvaluator, RLOptimizer, StopReason, Verdict
from tensor_optix.core.types import EvalMetrics
from tensor_optix.core.validation import joined
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import FirstReward, HookLog, ScriptedAgent, ScriptedPipeline, window_of


class HeldOut(ScriptedPipeline):
    """Complete env episodes of one step each, worth what ``worth`` says of the policy; a window is 3 steps."""

    def __init__(self, worth: Any, log: list[str] | None = None) -> None:
        super().__init__([0.0], log=log)
        self.worth = worth
        self.evaluated: list[int] = []
        self.modes: set[bool] = set()
        self.seeds: list[int] = []

    @property
    def window_steps(self) -> int:
        return 3

    def evaluate(self, agent, *, seeds, deterministic=True):
        self.evaluated.append(agent.policy)
        self.modes.add(deterministic)
        self.seeds += seeds
        self.log.append(f"validate P{agent.policy}")
        return window_of([float(self.worth(agent.policy))], 0)


@pytest.fixture
def build(tmp_path: Path):
    def make(script: list[Any], **keywords: Any) -> RLOptimizer:
        pipeline = keywords.pop("pipeline", None) or ScriptedPipeline(script, log=keywords.pop("log", None))
        agent = keywords.pop("agent", None) or ScriptedAgent()
        settings = {"evaluator": FirstReward(), "checkpoint_dir": tmp_path, "seed": 1, "evaluation_episodes": 0}
        return RLOptimizer(agent, pipeline, **{**settings, **keywords})

    return make


class Seen(LoopCallback):
    def __init__(self) -> None:
        self.metrics: list[EvalMetrics | None] = []

    def on_episode_end(self, episode_id, eval_metrics):
        self.metrics.append(eval_metrics)


def test_a_policy_is_validated_before_its_window_is_collected(build):
    log: list[str] = []
    build([5, 6], log=log, val_pipeline=HeldOut(lambda policy: 1.0, log), max_episodes=2).run()
    order = [entry for entry in log if entry != "setup"]
    assert order == ["validate P0"] * 3 + ["collect 0"] + ["validate P1"] * 3 + ["collect 1"]


def test_the_policy_with_the_best_validation_score_is_kept_and_not_the_best_in_training(build):
    agent = ScriptedAgent()
    opt = build([1, 2, 3, 4], agent=agent, val_pipeline=HeldOut(lambda policy: -abs(policy - 1)), max_episodes=4)
    opt.run()
    assert agent.policy == 1
    assert opt.result.score == 0.0
    assert opt.best_snapshot.eval_metrics.generalization_gap == 2.0


def test_every_validated_window_tells_the_generalization_gap(build):
    seen = Seen()
    build([7], val_pipeline=HeldOut(lambda policy: 4.0), callbacks=[seen], max_episodes=1).run()
    assert seen.metrics[0].primary_score == 4.0
    assert seen.metrics[0].generalization_gap == 3.0


def test_validation_acts_as_in_training_on_seeds_that_are_used_once(build):
    held_out = HeldOut(lambda policy: 1.0)
    build([5, 6, 7], val_pipeline=held_out, max_episodes=3).run()
    assert held_out.modes == {False}
    assert len(set(held_out.seeds)) == len(held_out.seeds) == 9


def test_a_deterministic_validation_has_no_generalization_gap_to_decide_by(build):
    seen, held_out = Seen(), HeldOut(lambda policy: 4.0)
    build([7], val_pipeline=held_out, val_deterministic=True, callbacks=[seen], max_episodes=1).run()
    assert held_out.modes == {True}
    assert seen.metrics[0].generalization_gap is None
    assert seen.metrics[0].metrics["deterministic_gap"] == 3.0


def test_the_steps_of_validation_are_steps_of_the_run(build):
    opt = build([5, 6], val_pipeline=HeldOut(lambda policy: 1.0), max_episodes=2)
    opt.run()
    assert opt.result.env_steps == 2 + 2 * 3


def test_validation_is_spaced_by_the_backoff_interval(build):
    held_out = HeldOut(lambda policy: 1.0)
    build([5.0], val_pipeline=held_out, max_episodes=20, dormant_threshold=100).run()
    assert sorted(set(held_out.evaluated)) == [0, 1, 3, 7, 15]


def test_validation_waits_until_it_has_used_no_more_than_its_share(build):
    held_out = HeldOut(lambda policy: float(policy))
    build(list(range(20)), val_pipeline=held_out, max_episodes=20, val_share=0.25, val_episodes=1).run()
    # a step each: after n of them the next one waits for a boundary with at least 4 n steps, validation included
    assert held_out.evaluated == [0, 3, 6, 9, 12, 15, 18]


def test_a_validation_of_so_many_episodes(build):
    held_out = HeldOut(lambda policy: 1.0)
    build([1], val_pipeline=held_out, max_episodes=1, val_episodes=5).run()
    assert held_out.evaluated == [0] * 5


def test_a_validation_without_episodes_is_refused(build):
    with pytest.raises(ConfigError, match="leave the pipeline out"):
        build([1], val_pipeline=HeldOut(lambda policy: 1.0), val_episodes=0)


def test_a_target_may_be_a_metric_that_the_environment_reports(build):
    class Succeeding(FirstReward):
        def score(self, episode_data, train_diagnostics):
            metrics = super().score(episode_data, train_diagnostics)
            return EvalMetrics(metrics.primary_score, {"success_rate": metrics.primary_score / 10}, 0)

    opt = build(
        [1, 5, 9, 9, 9], evaluator=Succeeding(), target_score=0.9, target_metric="success_rate", stop_at_target=True
    )
    opt.run()
    assert (opt.result.reason, opt.result.windows) == (StopReason.TARGET_SCORE, 4)  # a mean of two


def test_a_target_metric_is_looked_for_in_validated_windows_too(build):
    class Succeeding(FirstReward):
        def score(self, episode_data, train_diagnostics):
            metrics = super().score(episode_data, train_diagnostics)
            return EvalMetrics(metrics.primary_score, {"success_rate": metrics.primary_score / 10}, 0)

    opt = build([1, 9, 9], evaluator=Succeeding(), val_pipeline=HeldOut(float), target_score=0.9,
                target_metric="success_rate", stop_at_target=True, max_episodes=9)  # fmt: skip
    opt.run()
    assert (opt.result.reason, opt.result.windows) == (StopReason.TARGET_SCORE, 3)
    assert "success_rate of 0.9" in opt.result.explanation


def test_a_run_cannot_end_at_a_target_that_nobody_knows(build):
    with pytest.raises(ConfigError, match="stop_at_target needs a target_score"):
        build([1], stop_at_target=True).run()


def test_a_target_metric_needs_its_target(build):
    with pytest.raises(ConfigError, match="target_metric"):
        build([1], target_metric="success_rate")


def test_a_validation_pipeline_without_evaluation_is_asked_for_a_window(build):
    held_out = ScriptedPipeline([3, 2, 1])
    agent = ScriptedAgent()
    opt = build([1, 2, 3], agent=agent, val_pipeline=held_out, max_episodes=3)
    opt.run()
    assert held_out.agent is agent
    assert held_out.closed == 1
    assert opt.result.score == 3.0
    assert agent.policy == 0


def test_a_flat_validation_series_ends_the_run_while_the_training_score_rises(build):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 2000)
    held_out = HeldOut(lambda policy: 100 * min(policy, 30) / 30 + noise[policy])
    opt = build([float(k) for k in range(1000)], val_pipeline=held_out, max_episodes=300)
    opt.run()
    assert opt.result.reason is StopReason.OVERFITTING
    assert opt.result.verdict is Verdict.OVERFITTING
    assert opt.state.name == "DORMANT"
    assert "validation" in opt.result.explanation


def test_a_falling_validation_series_ends_the_run(build):
    noise = np.random.default_rng(0).normal(0, 1, 2000)
    held_out = HeldOut(lambda policy: 100 - 2 * abs(policy - 50) + noise[policy])
    agent = ScriptedAgent()
    opt = build([float(k) for k in range(1000)], agent=agent, val_pipeline=held_out, max_episodes=600)
    opt.run()
    assert opt.result.reason is StopReason.OVERFITTING
    assert opt.result.windows < 120
    assert abs(agent.policy - 50) <= 3


def test_rising_validation_scores_do_not_end_the_run(build):
    noise = np.random.default_rng(0).normal(0, 1, 2000)
    held_out = HeldOut(lambda policy: policy + noise[policy])
    opt = build([float(k) for k in range(1000)], val_pipeline=held_out, max_episodes=120)
    opt.run()
    assert opt.result.reason is StopReason.MAX_EPISODES


# -- external scores -------------------------------------------------------------------------------------------------


def test_an_external_score_chooses_the_policy_and_is_not_confirmed_by_anything_else(build):
    given: list[Any] = []

    def external(agent):
        given.append(agent)
        return -abs(agent.policy - 2)

    agent = ScriptedAgent()
    opt = build([1, 2, 3, 4, 5], agent=agent, checkpoint_score_fn=external, max_episodes=5, evaluation_episodes=2)
    opt.run()
    assert agent.policy == 2
    assert all(one is agent for one in given)
    assert opt.result.score == 0
    assert opt.best_snapshot.eval_metrics.primary_score == 3
    assert opt.best_snapshot.eval_metrics.metrics["external_score"] == 0
    kinds = [event["kind"] for event in RunDirectory.open(FileSystem(), opt.run_dir).read_events()]
    assert "confirmed" not in kinds


def test_the_training_signal_still_decides_when_the_run_ends(build):
    opt = build([1.0], checkpoint_score_fn=lambda agent: float(agent.policy), dormant_threshold=4, max_episodes=50)
    opt.run()
    assert opt.result.windows == 5


def test_an_external_score_that_is_no_number_is_refused(build):
    with pytest.raises(ConfigError, match="checkpoint_score_fn must return one number"):
        build([1.0], checkpoint_score_fn=lambda agent: "good", max_episodes=2).run()


def test_an_external_score_may_be_absent(build):
    opt = build([1.0], checkpoint_score_fn=lambda agent: float("nan"), max_episodes=3)
    opt.run()
    assert opt.best_snapshot is None


def test_the_training_pipeline_cannot_validate_itself(build):
    pipeline = ScriptedPipeline([1])
    with pytest.raises(ConfigError, match="val_pipeline must be"):
        build([], pipeline=pipeline, val_pipeline=pipeline)


def test_evaluating_every_window_leaves_training_bit_identical(tmp_path):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from tensor_optix import BatchPipeline
    from tests.test_optimizer import ppo_agent, weight_hash

    def train(**keywords):
        agent = ppo_agent()
        pipeline = BatchPipeline(env_id="CartPole-v1", window_size=64)
        hashes: list[str] = []

        class Hashes(LoopCallback):
            def on_episode_end(self, episode_id, eval_metrics):
                hashes.append(weight_hash(agent))

        RLOptimizer(agent, pipeline, checkpoint_dir=tmp_path, seed=3, max_episodes=2, evaluation_episodes=0,
                    callbacks=[Hashes()], **keywords).run()  # fmt: skip
        return hashes

    def external(agent):
        observations = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
        actions, _ = agent.act_batch(observations, rng=np.random.default_rng(1))
        return float(np.mean(actions)) + sum(agent.act(row) for row in observations[:5])

    plain = train()
    assert train(checkpoint_score_fn=external) == plain
    assert train(val_pipeline=BatchPipeline(env_id="CartPole-v1", window_size=64)) == plain


def test_joined_episodes_are_one_window_with_its_own_row_numbers():
    one, other = window_of([1.0, 2.0], 0), window_of([3.0], 0)
    one.final_observations, other.final_observations = {1: np.ones(1)}, {0: np.full(1, 7.0)}
    window = joined([one, other])
    assert window.rewards == [1.0, 2.0, 3.0]
    assert window.episode_returns == [1.0, 2.0, 3.0]
    assert window.ended_rows == [0, 1, 2]
    assert window.next_observations[2] == 7.0
    assert ReturnEvaluator().score_validation(window).primary_score == 2.0


def test_hooks_follow_the_selection_signal(build):
    log: list[str] = []
    held_out = HeldOut(lambda policy: [3.0, 1.0, 5.0, 0.0][policy])
    build([1, 2, 3, 4], val_pipeline=held_out, callbacks=[HookLog(log)], max_episodes=4, max_snapshots=2).run()
    assert [entry for entry in log if "improvement" in entry] == ["on_improvement 5"]


def test_a_search_ranks_trials_by_validation_and_mixes_no_units(tmp_path):
    pytest.importorskip("optuna")
    from tensor_optix import TrialOrchestrator

    orchestrator = TrialOrchestrator(
        lambda params: ScriptedAgent(), lambda: ScriptedPipeline([1000.0]), {"learning_rate": ("float", 0.0, 1.0)},
        n_trials=2, trial_steps=30, val_pipeline_factory=lambda: HeldOut(lambda policy: 5.0),
        rloptimizer_kwargs={"evaluator": FirstReward(), "checkpoint_dir": tmp_path}, seed=1,
    )  # fmt: skip
    _, score = orchestrator.run()
    assert score == 5.0


def test_validation_of_the_last_policy_is_reported_with_the_steps_of_the_closing(build):
    held_out = HeldOut(lambda policy: float(policy))
    opt = build([1, 2], val_pipeline=held_out, evaluation_episodes=2, max_episodes=2)
    opt.run()
    assert len(held_out.evaluated) == opt.result.env_steps - 2 + opt.result.evaluation_steps
