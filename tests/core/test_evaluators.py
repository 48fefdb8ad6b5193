"""The default score: its unit, its pool, and how much of it is the policy's own."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tensor_optix.core.episode_facts import MAX_FACTS
from tensor_optix.core.evaluators import ReturnEvaluator
from tensor_optix.core.types import EpisodeData


def window(
    ends: dict[int, float], length: int = 10, lengths: list[int] | None = None, rows: list | None = None, **fields
) -> EpisodeData:
    """A window with env episodes that end at these rows with these returns."""
    return EpisodeData(
        observations=np.zeros((length, 1)), actions=np.zeros(length), rewards=[0.5] * length,
        terminated=[row in ends for row in range(length)], truncated=[False] * length, infos=rows or [{}] * length,
        episode_id=0, episode_returns=list(ends.values()), episode_lengths=lengths or [1] * len(ends),
        episode_ends=list(ends), **fields,
    )  # fmt: skip


def test_the_score_is_the_mean_return_of_the_episodes_that_ended():
    metrics = ReturnEvaluator().score(window({2: 10.0, 7: 20.0}), {})
    assert metrics.primary_score == 15.0
    assert metrics.metrics["n_episodes"] == 2
    assert metrics.metrics["standard_error"] == pytest.approx(5.0)


def test_without_an_ended_episode_there_is_no_score():
    assert ReturnEvaluator().score(window({}), {}) is None


def test_episodes_are_pooled_over_windows_until_there_are_enough():
    evaluator = ReturnEvaluator(score_episodes=3)
    assert evaluator.score(window({2: 10.0, 7: 20.0}), {}) is None
    assert evaluator.score(window({1: 60.0}), {}).primary_score == 30.0
    assert evaluator.score(window({1: 60.0}), {}) is None


def test_off_policy_agents_are_scored_every_five_episodes():
    evaluator = ReturnEvaluator()
    evaluator.expect(is_on_policy=False, max_episode_steps=None, is_live=False)
    assert evaluator.score(window({row: 1.0 for row in range(4)}), {}) is None
    assert evaluator.score(window({0: 6.0}), {}).primary_score == 2.0


def test_policy_share_counts_only_the_steps_of_this_very_policy():
    # an episode of 30 steps ended at row 4: five of them lie in this window; one of 3 steps lies in it entirely
    metrics = ReturnEvaluator().score(window({4: 1.0, 7: 1.0}, lengths=[30, 3]), {})
    assert metrics.metrics["policy_share"] == pytest.approx((5 + 3) / 33)


def test_policy_share_of_pooled_windows_counts_the_last_window_only():
    evaluator = ReturnEvaluator(score_episodes=2)
    evaluator.score(window({4: 1.0}, lengths=[5]), {})
    metrics = evaluator.score(window({1: 1.0}, lengths=[2]), {})
    assert metrics.metrics["policy_share"] == pytest.approx(2 / 7)


def test_policy_share_respects_segments():
    data = window({1: 1.0, 6: 1.0}, lengths=[2, 20], segments=[(0, 5), (5, 10)])
    assert ReturnEvaluator().score(data, {}).metrics["policy_share"] == pytest.approx((2 + 2) / 22)


def test_the_unit_becomes_reward_per_step_only_after_a_long_silence():
    evaluator = ReturnEvaluator()
    scores = [evaluator.score(window({}, length=2000), {}) for _ in range(22)]
    assert [score is not None for score in scores] == [False] * 19 + [True] * 3
    assert scores[-1].primary_score == 0.5


def test_a_long_step_limit_lengthens_the_silence():
    evaluator = ReturnEvaluator()
    evaluator.expect(is_on_policy=True, max_episode_steps=50_000, is_live=False)
    assert all(evaluator.score(window({}, length=2000), {}) is None for _ in range(49))
    assert evaluator.score(window({}, length=2000), {}) is not None


def test_the_unit_never_changes_afterwards():
    evaluator = ReturnEvaluator()
    evaluator.score(window({0: 7.0}), {})
    assert all(evaluator.score(window({}, length=5000), {}) is None for _ in range(30))


def test_a_pipeline_that_counts_no_returns_is_counted_for_across_windows():
    evaluator = ReturnEvaluator()
    plain = {"actions": np.zeros(2), "truncated": [False, False], "infos": [{}, {}], "episode_id": 0}
    first = EpisodeData(np.zeros((2, 1)), rewards=[1.0, 2.0], terminated=[False, False], **plain)
    second = EpisodeData(np.zeros((2, 1)), rewards=[4.0, 8.0], terminated=[True, False], **plain)
    assert evaluator.score(first, {}) is None
    assert evaluator.score(second, {}).primary_score == 7.0


def test_a_validation_score_leaves_the_training_pool_alone():
    evaluator = ReturnEvaluator(score_episodes=2)
    evaluator.score(window({0: 10.0}), {})
    assert evaluator.score_validation(window({0: 99.0})).primary_score == 99.0
    assert evaluator.score(window({0: 20.0}), {}).primary_score == 15.0


def test_a_validation_in_reward_per_step_is_scored_whatever_its_length():
    evaluator = ReturnEvaluator()
    evaluator.load_state_dict({**evaluator.state_dict(), "unit": "step"})
    assert evaluator.score_validation(window({})).primary_score == 0.5
    assert evaluator.score(window({}), {}) is None  # training waits for more


class Tenths(ReturnEvaluator):
    def score(self, episode_data, train_diagnostics):
        metrics = super().score(episode_data, train_diagnostics)
        return None if metrics is None else replace(metrics, primary_score=metrics.primary_score / 10)


def test_a_subclass_scores_validation_in_its_own_unit_too():
    evaluator = Tenths(score_episodes=2)
    assert evaluator.score(window({3: 1.0}), {}) is None
    assert evaluator.score_validation(window({0: 50.0})).primary_score == 5.0
    assert evaluator.score(window({2: 3.0}), {}).primary_score == 0.2


def test_a_score_function_of_the_users_own_scores_every_window():
    evaluator = ReturnEvaluator(lambda data, diagnostics: data.length + diagnostics["loss"])
    assert evaluator.score(window({}), {"loss": 0.5}).primary_score == 10.5


def test_diagnostics_that_are_numbers_join_the_metrics():
    metrics = ReturnEvaluator().score(window({0: 1.0}), {"entropy": np.float32(0.5), "kind": "a2c"}).metrics
    assert metrics["entropy"] == 0.5
    assert "kind" not in metrics
    assert math.isnan(metrics["standard_error"])


def test_it_goes_on_where_its_state_was_taken():
    evaluator = ReturnEvaluator(score_episodes=3)
    evaluator.score(window({2: 10.0, 7: 20.0}, lengths=[4, 5]), {})
    other = ReturnEvaluator(score_episodes=3)
    other.load_state_dict(evaluator.state_dict())
    ours, theirs = (e.score(window({1: 60.0}), {}) for e in (evaluator, other))
    assert ours.metrics == pytest.approx(theirs.metrics)


def test_what_the_environment_says_of_ended_episodes_becomes_metrics():
    evaluator = ReturnEvaluator(score_episodes=2)
    last = {"is_success": True, "lap": np.float32(2), "note": "x", "odd": math.nan, "huge": 10**400}
    data = window({2: 1.0}, length=3, rows=[{"is_success": True, "lap": 9.0}, {}, last])
    assert evaluator.score(data, {}) is None
    metrics = evaluator.score(window({0: 1.0}, length=1, rows=[{"is_success": False}]), {}).metrics
    assert metrics["success_rate"] == 0.5
    assert metrics["info/lap"] == 2.0  # of the one episode that said it, at its end
    assert not {"info/note", "info/odd", "info/huge"} & set(metrics)


def test_facts_of_open_pools_are_part_of_the_state():
    one, other = ReturnEvaluator(score_episodes=2), ReturnEvaluator(score_episodes=2)
    one.score(window({0: 1.0}, length=1, rows=[{"success": 1}]), {})
    other.load_state_dict(one.state_dict())
    last = window({0: 1.0}, length=1, rows=[{"success": 0}])
    assert other.score(last, {}).metrics["success_rate"] == 0.5


def test_an_environment_cannot_fill_the_logs_with_names():
    data = window({0: 1.0}, length=1, rows=[{f"name {n}": n for n in range(1000)}])
    assert sum(name.startswith("info/") for name in ReturnEvaluator().score(data, {}).metrics) == MAX_FACTS
