"""What an agent refuses to learn from."""

from dataclasses import replace

import numpy as np
import pytest

from tensor_optix.algorithms.window_checks import action_indices, require_sound, unit_actions
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError, NonFiniteError

SOUND = EpisodeData(
    np.ones((4, 2), np.float32), np.zeros(4, np.int64), [1.0] * 4, [False] * 4, [False] * 4, [{}] * 4, 0,
    extras={"pre_squash": np.zeros((4, 1))}, segments=[(0, 3), (3, 3), (3, 4)],
    final_observations={3: np.ones(2)},
)  # fmt: skip


def test_a_whole_window_passes():
    require_sound(SOUND)
    require_sound(replace(SOUND, segments=None, observations=np.zeros((4, 8, 8, 3), np.uint8)))
    require_sound(replace(SOUND, observations=[[1, 2]] * 4, actions=[0, 1, 0, 1]))


@pytest.mark.parametrize(
    ("column", "short"),
    [
        ("observations", np.ones((3, 2))),
        ("actions", np.zeros(3)),
        ("terminated", [False] * 3),
        ("truncated", [False] * 3),
        ("extras", {"pre_squash": np.zeros((3, 1))}),
    ],
)
def test_columns_of_another_length_are_named(column, short):
    with pytest.raises(ConfigError, match=rf"equally long, got .*{column}.*: 3"):
        require_sound(replace(SOUND, **{column: short}))


@pytest.mark.parametrize(
    "segments", [[(0, 3)], [(0, 3), (3, 9)], [(0, 2), (1, 4)], [(2, 4), (0, 2)], [(0, 4), (4, 3)]]
)
def test_segments_that_do_not_part_the_rows_are_refused(segments):
    with pytest.raises(ConfigError, match="segments must part the 4 rows"):
        require_sound(replace(SOUND, segments=segments))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_located(number):
    observations = np.ones((4, 2))
    observations[2, 1] = number
    with pytest.raises(NonFiniteError, match=r"observations\[2, 1\]"):
        require_sound(replace(SOUND, observations=observations))
    with pytest.raises(NonFiniteError, match=r"rewards\[3\]"):
        require_sound(replace(SOUND, rewards=[1.0, 1.0, 1.0, number]))
    with pytest.raises(NonFiniteError, match=r"final_observations\[3\]\[0\]"):
        require_sound(replace(SOUND, final_observations={3: np.array([number, 0.0])}))
    with pytest.raises(NonFiniteError, match=r"final_obs\[1\]"):
        require_sound(replace(SOUND, final_obs=np.array([0.0, number])))


def test_actions_become_indices_whatever_type_and_shape_they_came_in():
    for given in ([0, 2, 1], np.array([[0], [2], [1]], np.uint8), np.array([0.0, 2.0, 1.0])):
        indices = action_indices(given, 3)
        assert indices.tolist() == [0, 2, 1]
        assert indices.dtype == np.int64


@pytest.mark.parametrize("odd", [3, -1, 0.5, np.nan, 1e30])
def test_an_action_that_the_agent_does_not_have_is_located(odd):
    with pytest.raises(ConfigError, match=r"from 0 to 2, got .* at actions\[1\]"):
        action_indices([0, odd, 1], 3)


def test_actions_that_are_no_numbers_are_refused():
    with pytest.raises(ConfigError, match="got left"):
        action_indices(["left"], 3)


def test_continuous_actions_keep_their_numbers_and_get_one_shape():
    assert unit_actions([0.5, -1.0005], 2, 1).tolist() == [[0.5], [-1.0005]]
    assert unit_actions(np.zeros((3, 2), np.float32), 3, 2).shape == (3, 2)


def test_continuous_actions_that_the_policy_cannot_have_chosen_are_refused():
    with pytest.raises(ConfigError, match=r"within \[-1, 1\], got -2.0 at actions\[1, 0\]: record what act returned"):
        unit_actions([[0.0], [-2.0]], 2, 1)
    with pytest.raises(ConfigError, match=r"actions of this agent are 2 numbers each .* shape \(2, 3\)"):
        unit_actions(np.zeros((2, 3)), 2, 2)
    with pytest.raises(NonFiniteError, match=r"nan at actions\[1, 0\]"):
        unit_actions([[0.0], [np.nan]], 2, 1)
