"""The order of the loop, what it keeps, and how it ends."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import (
    BaseOptimizer,
    ConfigError,
    Continuation,
    EvalMetrics,
    HyperparamSet,
    LoopCallback,
    LoopState,
    NonFiniteError,
    ReturnEvaluator,
    RLOptimizer,
    StopReason,
    TuningEvidence,
    Verdict,
)
from tensor_optix.core import final_evaluation
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import FirstReward, HookLog, ScriptedAgent, ScriptedPipeline, window_of

RISING = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]
NOISE = [0.0, 0.3, -0.2, 0.1, -0.1, 0.2, -0.3]
LEARNED_THEN_FLAT = RISING + [110 + NOISE[i % 7] for i in range(80)]


@pytest.fixture
def build(tmp_path: Path):
    def make(script: list[Any], log: list[str] | None = None, **keywords: Any) -> RLOptimizer:
        pipeline = keywords.pop("pipeline", None) or ScriptedPipeline(script, log=log)
        agent = keywords.pop("agent", None) or ScriptedAgent(log)
        settings = {"evaluator": FirstReward(), "checkpoint_dir": tmp_path, "seed": 1, **keywords}
        return RLOptimizer(agent, pipeline, **settings)

    return make


class RaiseEachTime(BaseOptimizer):
    """Adds 1 to the learning rate at every suggestion, and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[TuningEvidence] = []

    def observe(self, evidence: TuningEvidence) -> None:
        self.told.append(evidence)

    def suggest(self, current_hyperparams: HyperparamSet, metrics_history: list[EvalMetrics]) -> HyperparamSet:
        return HyperparamSet({"learning_rate": current_hyperparams.params["learning_rate"] + 1})


def test_beside_the_luckiest_policy_the_most_promising_are_kept(build):
    rng = np.random.default_rng(17)
    weak, strong = rng.normal(0.0, 1.0, 40), rng.normal(1.5, 1.0, 20)
    script = [*weak.tolist(), *strong.tolist()]
    by_score = sorted(range(60), key=script.__getitem__, reverse=True)[:8]
    opt = build(script, max_snapshots=8, max_episodes=60, evaluation_episodes=0)
    opt.run()
    best, *others = [snapshot.episode_id for snapshot in opt.registry.snapshots]
    assert best == by_score[0]
    assert sum(window >= 40 for window in others) > sum(window >= 40 for window in by_score[1:])


def test_each_window_is_collected_scored_kept_tuned_and_learned_in_this_order(build):
    log: list[str] = []
    opt = build([5, 6, 7], log, callbacks=[HookLog(log)], optimizer=RaiseEachTime(), max_episodes=2)
    opt.run()
    assert log[:12] == [
        "setup",
        "on_loop_start",
        "collect 0",
        "on_checkpoint 5",
        "learn 0 with 0.1",
        "on_episode_end 0 5",
        "collect 1",
        "on_checkpoint 6",
        "on_improvement 6",
        "on_hyperparam_update 0.1 -> 1.1",
        "learn 1 with 1.1",
        "on_episode_end 1 6",
    ]


def test_a_snapshot_holds_the_policy_that_was_scored_with_the_hyperparameters_that_made_it(build):
    opt = build([5, 6, 9, 1], optimizer=RaiseEachTime(), max_episodes=4)
    opt.run()
    # P_2 scored 9; it came out of the learn call of window 1, for which the tuner had set H_1 = 1.1
    assert opt.best_snapshot.eval_metrics.primary_score == 9
    assert opt.best_snapshot.hyperparams.params == {"learning_rate": 1.1}


def test_the_tuner_hears_from_the_second_tick_on_what_trained_the_scored_policy(build):
    tuner = RaiseEachTime()
    build([5, 6, 9], optimizer=tuner, max_episodes=3).run()
    told = [(dict(e.hyperparams)["learning_rate"], e.score, e.previous_score) for e in tuner.told]
    assert told == [(0.1, 6, 5), (1.1, 9, 6)]


def test_n_windows_are_collected_and_learned_for_a_budget_of_n(build):
    log: list[str] = []
    opt = build([1], log, max_episodes=3)
    opt.run()
    assert [entry for entry in log if entry.startswith(("collect", "learn"))] == [
        "collect 0", "learn 0 with 0.1", "collect 1", "learn 1 with 0.1", "collect 2", "learn 2 with 0.1",
    ]  # fmt: skip
    assert opt.result.reason is StopReason.MAX_EPISODES
    assert opt.result.windows == 3


def test_the_best_policy_and_its_hyperparameters_are_in_the_agent_afterwards(build):
    agent = ScriptedAgent()
    build([1, 9, 4, 3], agent=agent, optimizer=RaiseEachTime(), max_episodes=4).run()
    assert agent.policy == 1
    assert agent.params == {"learning_rate": 0.1}


def test_the_later_of_two_equal_scores_is_kept_and_is_no_improvement(build):
    log: list[str] = []
    agent = ScriptedAgent()
    build([7, 7, 7], agent=agent, callbacks=[HookLog(log)], max_episodes=3).run()
    assert agent.policy == 2
    assert not [entry for entry in log if entry.startswith("on_improvement")]


def test_a_window_without_a_score_is_no_tick(build):
    log: list[str] = []
    tuner = RaiseEachTime()
    opt = build([5, None, 6], callbacks=[HookLog(log)], optimizer=tuner, max_episodes=3)
    opt.run()
    assert "on_episode_end 1 absent" in log
    assert [(e.score, e.previous_score) for e in tuner.told] == [(6, 5)]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None, "7", [1.0], np.array([2.0])])
def test_a_score_that_is_no_number_is_absent(build, score):
    class Broken(FirstReward):
        def score(self, episode_data, train_diagnostics):
            return EvalMetrics(score, {}, episode_data.episode_id)

    opt = build([5], evaluator=Broken(), max_episodes=2)
    opt.run()
    assert opt.best_snapshot is None
    assert opt.result.score is None


def test_a_first_score_that_is_nan_is_followed_by_a_first_tick(build):
    tuner = RaiseEachTime()
    opt = build([float("nan"), 5, 6], optimizer=tuner, max_episodes=3, evaluation_episodes=0)
    opt.run()
    assert opt.best_snapshot.eval_metrics.primary_score == 6
    assert [(e.score, e.previous_score) for e in tuner.told] == [(6, 5)]


def test_patience_ends_the_run_once_learning_was_seen(build):
    log: list[str] = []
    opt = build(LEARNED_THEN_FLAT, callbacks=[HookLog(log)], convergence="patience")
    opt.run()
    assert opt.result.reason is StopReason.CONVERGED
    assert opt.state is LoopState.DORMANT
    assert log[-2:] == ["on_stop converged", "on_loop_stop"]
    assert sum(entry.startswith("on_dormant") for entry in log) == 1
    assert sum(entry.endswith("COOLING") for entry in log) == 20 - 5


def test_evidence_ends_the_run_after_a_cool_down_of_the_learning_rate(build):
    log: list[str] = []
    opt = build(LEARNED_THEN_FLAT, log, callbacks=[HookLog(log)])
    opt.run()
    assert opt.result.reason is StopReason.CONVERGED
    assert opt.state is LoopState.DORMANT
    rates = [float(entry.rpartition(" ")[2]) for entry in log if entry.startswith("learn ")]
    lowered = [rate for rate in rates if rate < 0.1]
    assert rates[-len(lowered) :] == lowered == sorted(lowered, reverse=True)
    assert len(lowered) == pytest.approx(0.2 * (len(rates) - len(lowered)), abs=2)
    assert {s.hyperparams.params["learning_rate"] for s in opt.registry.snapshots} == {0.1}
    assert any(entry.endswith("COOLING") for entry in log)


def test_the_tuner_is_not_asked_during_a_cool_down(build):
    log: list[str] = []
    opt = build(LEARNED_THEN_FLAT, log, callbacks=[HookLog(log)], optimizer=RaiseEachTime())
    opt.run()
    cooling = next(i for i, entry in enumerate(log) if entry.endswith("COOLING"))
    assert any(entry.startswith("on_hyperparam_update") for entry in log[:cooling])
    assert not any(entry.startswith("on_hyperparam_update") for entry in log[cooling:])


def test_a_collapse_that_stays_ends_the_run_with_the_best_policy(build):
    opt = build([*RISING, *[110 + NOISE[i % 7] for i in range(4)], *[NOISE[i % 7] for i in range(200)]])
    opt.run()
    assert opt.result.reason is StopReason.COLLAPSED
    assert opt.result.score > 100
    assert opt._parts.agent.policy == opt.best_snapshot.episode_id


def test_flat_scores_are_stuck_and_never_converged(build):
    opt = build([[noise] for noise in NOISE * 10], stuck_after=40)
    opt.run()
    assert opt.result.reason is StopReason.STUCK
    assert opt.result.verdict is Verdict.STUCK
    assert opt.result.windows == 40


def test_a_chosen_patience_threshold_is_taken_at_its_word(build):
    opt = build([1.0], dormant_threshold=4)
    opt.run()
    assert opt.result.reason is StopReason.STUCK
    assert opt.result.windows == 5  # one score, and four without a gain


def test_a_fall_is_told_once(build):
    log: list[str] = []
    script = [100 + 5 * NOISE[i % 7] for i in range(20)] + [10 + 5 * NOISE[i % 7] for i in range(10)]
    build(script, callbacks=[HookLog(log)], max_episodes=30).run()
    assert len([entry for entry in log if entry.startswith("on_degradation")]) == 1


def test_max_steps_counts_environment_steps(build):
    opt = build([[1.0, 1.0, 1.0]], max_steps=7)
    opt.run()
    assert opt.result.reason is StopReason.MAX_STEPS
    assert opt.result.env_steps == 9  # the window in which the limit is reached is finished


def test_max_time_ends_the_run(build):
    opt = build([1.0], max_time=0.0)
    opt.run()
    assert opt.result.reason is StopReason.MAX_TIME
    assert opt.result.windows == 0


def test_stop_from_a_callback_ends_the_run_after_the_window(build):
    class Stopper(LoopCallback):
        def on_episode_end(self, episode_id, eval_metrics):
            if episode_id == 2:
                opt.stop()

    opt = build([1.0], callbacks=[Stopper()])
    opt.run()
    assert opt.result.reason is StopReason.STOPPED
    assert opt.result.windows == 3


def test_stop_and_state_work_before_run(build):
    opt = build([1.0])
    assert opt.state is LoopState.ACTIVE
    opt.stop()
    opt.run()
    assert opt.result.windows == 0


def test_a_second_run_goes_on_with_a_fresh_budget_and_the_same_best(build):
    log: list[str] = []
    opt = build([1, 9, 2, 3], log, max_episodes=2)
    opt.run()
    registry = opt.registry
    log.clear()
    opt.run()
    assert [entry for entry in log if entry.startswith("collect")] == ["collect 2", "collect 3"]
    assert opt.result.windows == 4
    assert opt.best_snapshot.eval_metrics.primary_score == 9
    assert opt.registry is registry


def test_a_second_run_gives_the_restored_policy_no_earlier_score(build):
    tuner = RaiseEachTime()
    opt = build([1, 9, 2, 3], optimizer=tuner, max_episodes=2)
    opt.run()
    tuner.told.clear()
    opt.run()
    assert [(e.score, e.previous_score) for e in tuner.told] == [(3, 2)]


class Successor(LoopCallback):
    """Gives one other agent to go on with after DORMANT."""

    def __init__(self, agent: Any, max_steps: int | None) -> None:
        self.offer: Continuation | None = Continuation(agent, max_steps)

    def after_dormant(self, run):
        offer, self.offer = self.offer, None
        return offer


def test_a_continuation_goes_on_with_its_agent_for_its_budget(build):
    log: list[str] = []
    first, second = ScriptedAgent(log, "first "), ScriptedAgent(log, "second ")
    opt = build([1.0], agent=first, callbacks=[Successor(second, 2)], dormant_threshold=2)
    opt.run()
    learned = [entry.split(" with")[0] for entry in log if "learn" in entry]
    assert learned == ["first learn 0", "first learn 1", "second learn 3", "second learn 4"]


def test_a_continuation_starts_a_fresh_clock(build):
    opt = build([1.0], callbacks=[Successor(ScriptedAgent(), None)], dormant_threshold=3)
    opt.run()
    assert opt.result.windows == 4 + 4
    assert opt.result.reason is StopReason.STUCK


def test_the_best_of_a_continuation_ends_up_in_the_agent_that_the_user_gave(build):
    agent = ScriptedAgent()
    second = ScriptedAgent()
    second.policy = 70
    build([1, 1, 1, 8, 2, 2, 2], agent=agent, callbacks=[Successor(second, 4)], dormant_threshold=2).run()
    assert agent.policy in range(70, 75)


def test_a_continuation_is_seeded_from_the_run(build):
    class Seeded(ScriptedAgent):
        drawn: int | None = None

        def seed(self, rng):
            self.drawn = int(rng.integers(2**31))

    def draw(seed: int) -> tuple[int | None, int | None]:
        first, second = Seeded(), Seeded()
        build([1.0], agent=first, callbacks=[Successor(second, 3)], dormant_threshold=2, seed=seed).run()
        return first.drawn, second.drawn

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert None not in draw(1)
    assert len(set(draw(1))) == 2


def test_a_continuation_that_learns_nothing_is_stuck_whatever_the_agent_before_it_learned(build):
    class Worse(LoopCallback):
        offers = 1

        def after_dormant(self, run):
            self.offers -= 1
            pipeline.script = [[0.0]]
            return Continuation(ScriptedAgent()) if self.offers >= 0 else None

    pipeline = ScriptedPipeline(LEARNED_THEN_FLAT)
    opt = build([], pipeline=pipeline, callbacks=[Worse()], stuck_after=40)
    opt.run()
    assert opt.result.reason is StopReason.STUCK


def test_a_continuation_with_other_networks_is_refused_in_words(build):
    class Wider(ScriptedAgent):
        def policy_state(self):
            return {"policy": np.zeros(3)}

    opt = build([1.0], callbacks=[Successor(Wider(), 3)], dormant_threshold=2)
    with pytest.raises(ConfigError, match=r"must have the same networks as yours.*these differ: policy"):
        opt.run()


def test_an_off_policy_agent_keeps_the_guard_that_nobody_switched_off(build):
    class OffPolicy(ScriptedAgent):
        @property
        def is_on_policy(self):
            return False

    opt = build([1.0], agent=OffPolicy(), stuck_after=50)
    opt.run()
    assert opt.result.windows == 50


def test_a_policy_that_warms_up_is_scored_but_not_judged(build):
    class WarmingUp(ScriptedAgent):
        @property
        def warming_up(self):
            return self.policy < 10

    tuner = RaiseEachTime()
    opt = build([1.0], agent=WarmingUp(), dormant_threshold=3, optimizer=tuner)
    opt.run()
    assert opt.result.windows == 10 + 4
    assert len(tuner.told) == 3  # windows 10, 11 and 12; the one that ends the run is not tuned


def test_a_fall_waits_until_the_tuner_has_stopped_probing(build):
    class Probing(RaiseEachTime):
        @property
        def is_probing(self):
            return 18 <= len(self.told) <= 24

        def suggest(self, current_hyperparams, metrics_history):
            return current_hyperparams

    log: list[str] = []
    script = [100 + 5 * NOISE[i % 7] for i in range(20)] + [10 + 5 * NOISE[i % 7] for i in range(10)]
    build(script, callbacks=[HookLog(log)], optimizer=Probing(), max_episodes=30).run()
    assert [entry for entry in log if entry.startswith("on_degradation")] == ["on_degradation 26"]


def test_the_time_of_two_runs_adds_up_without_the_time_between_them(build):
    class FiveSecondsLater(LoopCallback):
        def on_episode_end(self, episode_id, eval_metrics):
            now[0] += 5

    now = [100.0]
    opt = build([1.0], max_episodes=1, callbacks=[FiveSecondsLater()])
    opt._controller._course.clock._clock = lambda: now[0]
    opt.run()
    now[0] += 1000
    opt.run()
    assert opt.result.seconds == 10.0


def test_a_pipeline_without_more_windows_ends_the_run(build):
    class Finite(ScriptedPipeline):
        def episodes(self):
            windows = super().episodes()
            yield from (next(windows) for _ in range(3))

    agent = ScriptedAgent()
    opt = build([1, 5, 2], agent=agent, pipeline=Finite([1, 5, 2]))
    opt.run()
    assert opt.result.reason is StopReason.PIPELINE_ENDED
    assert agent.policy == 1


def test_columns_that_do_not_belong_together_are_named(build):
    class Ragged(ScriptedPipeline):
        def episodes(self):
            for window in super().episodes():
                window.episode_lengths = []
                yield window

    with pytest.raises(ConfigError, match="1 episode_returns but 0 episode_lengths"):
        build([1], pipeline=Ragged([1])).run()


def test_a_row_pairs_a_score_with_the_hyperparameters_that_made_its_policy(build):
    opt = build([5, 6, 9], optimizer=RaiseEachTime(), max_episodes=3)
    opt.run()
    rows = RunDirectory.open(FileSystem(), opt.run_dir).read_metrics()
    assert [(row["score"], row["hyperparams"]["learning_rate"]) for row in rows] == [(5, 0.1), (6, 0.1), (9, 1.1)]


def test_the_row_of_the_tick_that_ended_the_run_says_so(build):
    opt = build([1.0], dormant_threshold=2, callbacks=[Successor(ScriptedAgent(), 2)])
    opt.run()
    rows = RunDirectory.open(FileSystem(), opt.run_dir).read_metrics()
    assert [row["state"] for row in rows][:4] == ["ACTIVE", "ACTIVE", "DORMANT", "ACTIVE"]


class Evaluable(ScriptedPipeline):
    """Complete episodes are worth what ``values`` says of the agent's policy; ``log`` notes how it acted."""

    def __init__(self, script, values, **keywords):
        super().__init__(script, **keywords)
        self.values = values

    def evaluate(self, agent, *, seeds, deterministic=True):
        self.log.append(f"evaluate P{agent.policy} {'deterministic' if deterministic else 'as in training'}")
        return window_of([self.values(agent.policy)], 0)


def test_the_last_policy_is_scored_as_in_training_and_may_be_the_best(build):
    log: list[str] = []
    agent = ScriptedAgent()
    pipeline = Evaluable([1, 2], lambda policy: 50.0 if policy == 2 else 1.0, log=log)
    opt = build([], agent=agent, pipeline=pipeline, evaluator=ReturnEvaluator(), max_episodes=2, evaluation_episodes=3)
    opt.run()
    assert agent.policy == 2
    evaluations = [entry for entry in log if entry.startswith("evaluate")]
    assert evaluations[:10] == ["evaluate P2 as in training"] * 10
    assert evaluations[-3:] == ["evaluate P2 deterministic"] * 3
    assert opt.result.evaluation_steps == len(evaluations) == 10 + 14 + 3  # 14: the best three against each other


def test_a_score_of_another_scale_is_never_compared_with_those_of_windows(build):
    """The sum over a window grows with its length: whole episodes would always win, or always lose."""
    agent = ScriptedAgent()
    pipeline = Evaluable([9, 2], lambda policy: 1000.0)
    opt = build([], agent=agent, pipeline=pipeline, max_episodes=2, evaluation_episodes=1)
    opt.run()
    assert agent.policy == 0
    assert "the policy of the last learn call could not be scored" in opt.result.notes[0]


def test_after_a_signal_nothing_is_evaluated(build):
    class Interrupted(ScriptedAgent):
        def learn(self, episode_data):
            os.kill(os.getpid(), signal.SIGINT)
            return super().learn(episode_data)

    log: list[str] = []
    pipeline = Evaluable([1], lambda policy: 1.0, log=log)
    opt = build([], agent=Interrupted(), pipeline=pipeline, evaluator=ReturnEvaluator())
    opt.run()
    assert not [entry for entry in log if entry.startswith("evaluate")]
    assert opt.result.notes == ()


def test_an_evaluation_begins_no_further_episode_after_too_many_steps(build, monkeypatch):
    monkeypatch.setattr(final_evaluation, "MAX_EVALUATION_STEPS", 4)
    pipeline = Evaluable([3], lambda policy: 3.0)
    opt = build([], pipeline=pipeline, max_episodes=1, evaluation_episodes=9)
    opt.run()
    assert len(opt.result.final.returns) == 4
    assert "the final evaluation ended after 4 episodes, which took 4 steps" in opt.result.notes


def test_a_signal_ends_an_evaluation_at_once_and_the_result_stands(build):
    class Slow(Evaluable):
        def evaluate(self, agent, *, seeds, deterministic=True):
            if len([entry for entry in self.log if entry.startswith("evaluate")]) == 10 + 16 + 2:
                os.kill(os.getpid(), signal.SIGINT)
                raise AssertionError("the signal leaves at once")
            return super().evaluate(agent, seeds=seeds, deterministic=deterministic)

    pipeline = Slow([1], lambda policy: 1.0)
    opt = build([], pipeline=pipeline, evaluator=ReturnEvaluator(), max_episodes=1)
    opt.run()
    assert opt.result.reason is StopReason.MAX_EPISODES
    assert len(opt.result.final.returns) == 2
    assert "the evaluation was interrupted" in opt.result.notes


def test_an_error_of_the_final_evaluation_surfaces_and_the_result_stands(build):
    class Broken(Evaluable):
        def evaluate(self, agent, *, seeds, deterministic=True):
            raise OSError("port in use")

    opt = build([], pipeline=Broken([3], None), max_episodes=1)
    with pytest.raises(OSError, match="port in use"):
        opt.run()
    assert opt.result.score == 3


def test_a_second_run_scores_the_restored_policy_by_its_own_episodes_only(build):
    evaluator = ReturnEvaluator(score_episodes=2)
    opt = build([[8, 8], [1], [8, 8]], evaluator=evaluator, max_episodes=2)
    opt.run()
    opt.run()
    rows = RunDirectory.open(FileSystem(), opt.run_dir).read_metrics()
    assert [row["score"] for row in rows] == [8, 8, 8]


def test_a_failing_second_run_leaves_the_first_ones_record_alone(build):
    opt = build([None], max_episodes=2)
    opt.run()
    opt._parts.agent.learn = None
    with pytest.raises(TypeError):
        opt.run()
    assert RunDirectory.open(FileSystem(), opt.run_dir).read_events()


def test_a_hook_that_fails_before_the_first_window_leaves_nothing_behind(build, tmp_path):
    class Broken(LoopCallback):
        def on_loop_start(self):
            raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError):
        build([1.0], callbacks=[Broken()]).run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("returned", [7.0, "7", [7.0]])
def test_an_evaluator_that_returns_no_metrics_is_named(build, returned):
    class Bare(FirstReward):
        def score(self, episode_data, train_diagnostics):
            return returned

    with pytest.raises(ConfigError, match="Bare must return EvalMetrics or None, got"):
        build([1.0], evaluator=Bare()).run()


class BlowsUp(ScriptedAgent):
    """Its numbers blow up in the learn calls with these numbers."""

    def __init__(self, at: set[int]) -> None:
        super().__init__()
        self.at, self.calls = at, 0

    def learn(self, episode_data):
        self.calls += 1
        if self.calls - 1 in self.at:
            raise NonFiniteError("the loss is nan")
        return super().learn(episode_data)


def test_non_finite_numbers_in_learning_lead_back_to_the_best_policy_at_half_the_learning_rate(build):
    class Noting(LoopCallback):
        def on_rollback(self, snapshot):
            noted.append((snapshot.eval_metrics.primary_score, agent.policy, agent.params["learning_rate"]))

    noted: list[Any] = []
    agent = BlowsUp(at={3})
    tuner = RaiseEachTime()
    tuner.suggest = lambda current, history: current
    opt = build([1, 9, 4, 3, 5], agent=agent, callbacks=[Noting()], optimizer=tuner, max_episodes=6)
    opt.run()
    assert noted == [(9, 1, 0.05)]
    assert [e.previous_score for e in tuner.told] == [1, 9, 4, 5]  # window 4 has no earlier score to compare with


def test_a_policy_that_blows_up_again_and_again_ends_the_run(build):
    agent = BlowsUp(at=set(range(2, 100)))
    with pytest.raises(NonFiniteError):
        build([1, 9, 4], agent=agent).run()
    assert agent.calls == 2 + 4
    assert agent.policy == 1


@pytest.mark.parametrize("part", ["learn", "score", "window"])
def test_an_error_surfaces_restores_the_best_and_closes_everything(build, part, tmp_path):
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("on purpose")

    log: list[str] = []
    agent, pipeline, evaluator = ScriptedAgent(log), ScriptedPipeline([3, 5, 4]), FirstReward()
    target, method = {"learn": (agent, "learn"), "score": (evaluator, "score"), "window": (pipeline, "episodes")}[part]

    class FailLater(LoopCallback):
        def on_episode_end(self, episode_id, eval_metrics):
            if episode_id == 2:
                setattr(target, method, fail)
                pipeline.script = property(fail) if part == "window" else pipeline.script

    opt = build([], agent=agent, pipeline=pipeline, evaluator=evaluator, callbacks=[FailLater(), HookLog(log)])
    with pytest.raises((ZeroDivisionError, TypeError)):
        opt.run()
    assert agent.policy == 1  # P_1 scored 5
    assert log[-1] == "on_loop_stop"
    assert pipeline.closed == 1
    assert opt.result is None
    assert RunDirectory.open(FileSystem(), opt.run_dir).summary["status"] == "failed"


def test_a_run_that_fails_before_anything_was_scored_leaves_nothing_behind(build, tmp_path):
    class Broken(ScriptedAgent):
        def policy_state(self):
            raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError):
        build([1.0], agent=Broken()).run()
    assert list(tmp_path.iterdir()) == []


def test_an_agent_that_does_not_fit_leaves_no_run_directory(build, tmp_path):
    class Unfit(ScriptedPipeline):
        def setup(self):
            raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError):
        build([1.0], pipeline=Unfit([1.0])).run()
    assert list(tmp_path.iterdir()) == []


def test_an_evaluator_that_wants_diagnostics_of_the_first_policy_is_told_why_there_are_none(build):
    class Wants(FirstReward):
        def score(self, episode_data, train_diagnostics):
            return EvalMetrics(train_diagnostics["loss"], {}, 0)

    with pytest.raises(KeyError) as caught:
        build([1.0], evaluator=Wants()).run()
    assert "no learn call has made this policy yet" in caught.value.__notes__[0]


def test_diagnostics_are_those_of_the_learn_call_that_made_the_policy(build):
    seen: list[Any] = []

    class Watching(FirstReward):
        def score(self, episode_data, train_diagnostics):
            seen.append(train_diagnostics.get("loss"))
            return super().score(episode_data, train_diagnostics)

    build([1.0], evaluator=Watching(), max_episodes=3).run()
    assert seen[:3] == [None, 1.0, 2.0]


def test_the_first_interrupt_ends_the_run_with_the_best_policy_and_restores_the_handlers(build):
    class Interrupting(ScriptedPipeline):
        def episodes(self):
            windows = super().episodes()
            for _ in range(3):
                yield next(windows)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the signal leaves the window at once")

    before = signal.getsignal(signal.SIGINT)
    agent = ScriptedAgent()
    opt = build([1, 5, 2], agent=agent, pipeline=Interrupting([1, 5, 2]))
    opt.run()
    assert opt.result.reason is StopReason.INTERRUPTED
    assert agent.policy == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_while_learning_waits_for_the_end_of_the_window(build):
    class Learner(ScriptedAgent):
        def learn(self, episode_data):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().learn(episode_data)

    agent = Learner()
    opt = build([1.0], agent=agent)
    opt.run()
    assert opt.result.reason is StopReason.TERMINATED
    assert opt.result.windows == 1


def test_a_second_interrupt_ends_at_once(build):
    class Learner(ScriptedAgent):
        def learn(self, episode_data):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        build([1.0], agent=Learner()).run()


def test_a_run_in_another_thread_installs_no_handlers(build):
    opt = build([1.0], max_episodes=2)
    thread = threading.Thread(target=opt.run)
    thread.start()
    thread.join(timeout=30)
    assert opt.result.windows == 2


def test_every_tick_and_every_decision_is_a_row_in_the_run_directory(build):
    opt = build([1, None, 3], max_episodes=3)
    opt.run()
    directory = RunDirectory.open(FileSystem(), opt.run_dir)
    assert [row["score"] for row in directory.read_metrics()] == [1, 3]
    assert [row["kind"] for row in directory.read_events()][-1] == "stopped"
    assert directory.summary["reason"] == "max_episodes"
    assert directory.identity["seed"] == 1
