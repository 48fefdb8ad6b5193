import numpy as np
import pytest

from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet, StopReason
from tensor_optix.errors import ConfigError


def window(terminated=(), truncated=(), *, n=4, **kwargs):
    """Rows whose observations are their own numbers times ten."""
    return EpisodeData(
        observations=[[10.0 * row] for row in range(n)],
        actions=[0] * n,
        rewards=[1.0] * n,
        terminated=[row in terminated for row in range(n)],
        truncated=[row in truncated for row in range(n)],
        infos=[{}] * n,
        episode_id=0,
        **kwargs,
    )


def successors(data):
    return data.next_observations[:, 0].tolist()


def test_hyperparameters_come_as_a_set_or_as_a_dict():
    given = HyperparamSet({"gamma": 0.9}, episode_id=3)
    assert HyperparamSet.of(given) is given
    assert HyperparamSet.of({"gamma": 0.9}).params == given.params
    with pytest.raises(ConfigError, match=r"HyperparamSet or a dict.*got None"):
        HyperparamSet.of(None)


def test_a_successor_is_the_next_row_except_at_boundaries():
    data = window(terminated=[1], final_observations={1: [15.0], 3: [35.0]})
    assert data.boundary_rows.tolist() == [1, 3]
    assert successors(data) == [10, 15, 30, 35]
    assert data.boundary_observations[:, 0].tolist() == [15, 35]


def test_terminated_and_truncated_rows_are_boundaries_alike():
    assert window(terminated=[0], truncated=[0, 2]).boundary_rows.tolist() == [0, 2, 3]
    assert window(terminated=[0], truncated=[2]).dones == [True, False, True, False]


def test_every_segment_ends_in_a_boundary():
    data = window(segments=[(0, 2), (2, 4)], final_observations={1: [15.0], 3: [35.0]})
    assert data.boundary_rows.tolist() == [1, 3]
    assert successors(data) == [10, 15, 30, 35]


def test_an_empty_segment_has_no_boundary():
    assert window(segments=[(0, 4), (4, 4)]).boundary_rows.tolist() == [3]


def test_a_window_made_by_hand_falls_back_on_final_obs_and_then_on_its_own_rows():
    assert successors(window(truncated=[1], final_obs=[39.0])) == [10, 10, 30, 39]
    assert successors(window()) == [10, 20, 30, 30]


def test_next_observations_leave_the_observations_alone():
    data = window(terminated=[1])
    data.observations = np.asarray(data.observations)
    before = data.observations.copy()
    data.next_observations[:] = -1
    np.testing.assert_array_equal(data.observations, before)


def test_old_style_construction_works():
    data = EpisodeData([[0.0]], [1], [2.0], [True], [False], [{}], 7)
    assert (data.length, data.total_reward, data.extras, data.row_ranges) == (1, 2.0, {}, [(0, 1)])


@pytest.mark.parametrize(("score", "margin", "expected"), [(2.0, 0.0, True), (1.0, 0.0, False), (2.0, 1.0, False)])
def test_a_score_beats_another_by_more_than_the_margin(score, margin, expected):
    assert EvalMetrics(score, {}, 0).beats(EvalMetrics(1.0, {}, 0), margin) is expected


def test_the_generalization_gap_needs_both_scores():
    assert EvalMetrics(1.0, {"train_score": 5.0, "val_score": 3.0}, 0).generalization_gap == 2.0
    assert EvalMetrics(1.0, {"train_score": 5.0}, 0).generalization_gap is None


def test_a_copied_hyperparam_set_is_its_own():
    original = HyperparamSet({"gamma": 0.9}, 3)
    copied = original.copy()
    copied.params["gamma"] = 0.5
    assert original.params == {"gamma": 0.9}
    assert copied.episode_id == 3


def test_that_nothing_more_is_to_be_gained_is_said_by_three_reasons():
    found = [reason for reason in StopReason if reason.is_convergence]
    assert found == [StopReason.CONVERGED, StopReason.CEILING, StopReason.OVERFITTING]
