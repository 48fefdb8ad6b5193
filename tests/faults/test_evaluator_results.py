"""What evaluators may return or do, and what must not come of it."""

import itertools
import math

import numpy as np
import pytest

from tensor_optix import ConfigError, EvalMetrics, ReturnEvaluator, RLOptimizer
from tensor_optix.core.score_tracker import present
from tensor_optix.core.trajectory_buffer import compute_gae
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline, window_of

NAN, INF = float("nan"), float("inf")


def told(score=1.0, metrics=None, episode_id=3, timestamp=0.0):
    metrics = EvalMetrics(score, {} if metrics is None else metrics, episode_id, timestamp)
    return present(metrics, evaluator=FirstReward())


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (1, 1.0), (2.5, 2.5), (True, 1.0), (np.float32(0.5), 0.5), (np.float64(2), 2.0), (np.int64(3), 3.0),
        (np.bool_(True), 1.0), (np.array(2.0), 2.0), (10**300, 1e300),
        (NAN, None), (INF, None), (-INF, None), (None, None), ("7", None), (b"7", None), (np.str_("7"), None),
        (np.array("7"), None), ([1.0], None), (np.array([1.0]), None), (np.zeros(0), None), (1 + 0j, None),
        (np.complex128(1), None), (np.datetime64("2020"), None), (10**400, None), ({}, None),
        (np.float32(np.nan), None),
        (np.array(None), None),
    ],
    ids=repr,
)  # fmt: skip
def test_a_score_is_a_finite_number_or_absent(score, expected):
    metrics = told(score)
    assert (metrics.primary_score if metrics else None) == expected
    assert metrics is None or type(metrics.primary_score) is float


def test_what_comes_with_a_score_is_brought_into_plain_types():
    metrics = told(1, {"a": np.float32(2), "b": NAN, 3: True, "c": np.array(4)}, np.int64(7), np.float64(5))
    assert {k: v for k, v in metrics.metrics.items() if k != "b"} == {"a": 2.0, "3": 1.0, "c": 4.0}
    assert math.isnan(metrics.metrics["b"])
    assert {type(value) for value in [*metrics.metrics.values(), metrics.timestamp]} == {float}
    assert (metrics.episode_id, type(metrics.episode_id)) == (7, int)


@pytest.mark.parametrize("odd", [np.zeros(3), [1, 2], "text", None, {"x": 1}, 1j])
def test_metrics_that_are_no_numbers_are_named(odd):
    with pytest.raises(ConfigError, match="metrics that are one number each, which 'odd' are not"):
        told(1.0, {"fine": 1.0, "odd": odd})


@pytest.mark.parametrize(
    "keywords",
    [{"metrics": [1.0]}, {"episode_id": "3"}, {"episode_id": 1.5}, {"episode_id": NAN}, {"episode_id": None},
     {"timestamp": "now"}],
)
def test_other_fields_of_wrong_types_are_named(keywords):
    with pytest.raises(ConfigError, match="FirstReward must return"):
        told(**keywords)


class Returning(FirstReward):
    """The score of window k is ``scores[k]``; its metrics hold numbers of NumPy."""

    def __init__(self, scores):
        self.scores = scores

    def score(self, episode_data, train_diagnostics):
        number = np.int64(episode_data.episode_id)
        return EvalMetrics(self.scores[number], {"n": np.float32(1), "spread": np.float64(NAN)}, number)


@pytest.mark.parametrize("odd", [NAN, INF, -INF, None, "9", np.float32(NAN)])
@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 2])))
def test_whatever_is_no_score_never_becomes_best_and_poisons_nothing(order, odd, tmp_path):
    scores = [[1.0, odd, 2.0][index] for index in order]
    agent = ScriptedAgent()
    opt = RLOptimizer(agent, ScriptedPipeline([0.0]), Returning(scores), checkpoint_dir=tmp_path, max_episodes=3)
    opt.run()
    assert opt.result.score == 2.0
    assert agent.policy == scores.index(2.0)
    assert [snapshot.eval_metrics.primary_score for snapshot in opt.registry.snapshots] == [2.0, 1.0]
    assert opt._controller._tracker.smoothed == 1.5


def test_a_window_for_reading_cannot_change_what_is_learned():
    data = window_of([1.0, 2.0], 0)
    data.extras, data.final_observations, data.final_obs = {"x": np.zeros(2)}, {1: np.ones(1)}, np.ones(1)
    shown = data.for_reading()
    for array in (shown.observations, shown.actions, shown.extras["x"], shown.final_observations[1], shown.final_obs):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 9
    for name in ("rewards", "terminated", "truncated", "infos", "episode_returns", "episode_lengths"):
        getattr(shown, name).clear()
    shown.extras["y"] = shown.metadata["y"] = 1
    assert (data.rewards, data.terminated, data.episode_returns) == ([1.0, 2.0], [True, True], [1.0, 2.0])
    assert (list(data.extras), data.metadata, data.infos) == (["x"], {}, [{}, {}])


def test_a_window_for_reading_scores_like_the_window_itself():
    data = window_of([1.0, 2.0], 0)
    assert data.for_reading().next_observations.tolist() == data.next_observations.tolist()
    first, second = (ReturnEvaluator().score(window, {}) for window in (data, data.for_reading()))
    assert (first.primary_score, first.metrics.keys()) == (second.primary_score, second.metrics.keys())
    data.observations = [np.zeros(1), np.ones(1)]  # windows of the old kind hold lists
    with pytest.raises(ValueError, match="read-only"):
        data.for_reading().observations[0][0] = 3


@pytest.mark.parametrize("window", [[], [None], [None, None]])
def test_a_window_in_which_nothing_ended_has_no_score(window):
    evaluator = ReturnEvaluator()
    assert evaluator.score(window_of(window, 0), {}) is None


def test_a_window_without_rows_has_no_successors_and_no_advantages():
    data = window_of([], 0)
    assert data.next_observations.shape == data.boundary_observations.shape == (0, 1)
    assert [len(x) for x in compute_gae(data.rewards, [], data.dones, segments=[(0, 0)])] == [0, 0]


def test_windows_without_rows_are_no_failure_to_improve(tmp_path):
    opt = RLOptimizer(ScriptedAgent(), ScriptedPipeline([[], [], 5.0, []]), checkpoint_dir=tmp_path, max_episodes=6)
    opt.run()
    assert opt.result.score == 5.0
    assert len(opt._controller._tracker.history) == 1


def test_env_episodes_of_one_step_score_without_a_division_by_zero(tmp_path):
    opt = RLOptimizer(ScriptedAgent(), ScriptedPipeline([[0.0]]), checkpoint_dir=tmp_path, max_episodes=3)
    opt.run()
    metrics = opt.best_snapshot.eval_metrics
    assert (metrics.primary_score, metrics.metrics["policy_share"]) == (0.0, 1.0)
