import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from tensor_optix.errors import AgentError, ConfigError
from tensor_optix.pipeline.actions import action_converter


@pytest.mark.parametrize("action", [1, 1.0, np.int64(1), np.float32(1), np.array(1), np.array([1])])
def test_discrete_actions_become_ints_from_the_spaces_start(action):
    env_action = action_converter(Discrete(3, start=5))(action)
    assert env_action == 6
    assert type(env_action) is int


@pytest.mark.parametrize("action", [-1, 3, 0.5, np.nan, "a", np.zeros(2)])
def test_an_action_outside_a_discrete_space_names_value_and_space(action):
    with pytest.raises(AgentError, match=r"action.*Discrete\(3, start=5\)"):
        action_converter(Discrete(3, start=5))(action)


def test_unit_box_actions_are_scaled_to_the_bounds_and_never_leave_them():
    bounds = np.sort(np.random.default_rng(0).normal(size=(2, 200)), axis=0).astype(np.float32)
    space = Box(*bounds)
    convert = action_converter(space, in_unit_box=True)
    np.testing.assert_allclose(convert(np.zeros(200)), bounds.mean(axis=0), rtol=1e-6, atol=1e-7)
    assert space.contains(convert(np.ones(200)))
    assert space.contains(convert(-np.ones(200)))


def test_the_widest_bounds_do_not_overflow():
    largest = np.finfo(np.float32).max
    convert = action_converter(Box(-largest, largest, (2,), np.float32), in_unit_box=True)
    np.testing.assert_array_equal(convert(np.array([0.0, 0.5])), np.float32([0.0, largest / 2]))


def test_an_unbounded_box_gets_the_action_as_it_is_in_an_array_of_its_own():
    action = np.array([3.0], np.float32)
    env_action = action_converter(Box(-np.inf, np.inf, (1,), np.float32), in_unit_box=True)(action)
    assert env_action.tolist() == [3.0]
    assert not np.shares_memory(action, env_action)


@pytest.mark.parametrize("action", [[np.nan, 0], [np.inf, -np.inf], [1.0], [1.0, 2.0, 3.0]])
def test_a_box_refuses_what_is_not_finite_or_of_another_size(action):
    with pytest.raises(AgentError, match="Box"):
        action_converter(Box(-1, 1, (2,), np.float32))(np.array(action))


def test_multi_discrete_adds_its_start_and_refuses_what_it_does_not_have():
    convert = action_converter(MultiDiscrete([2, 3], start=[1, 0]))
    assert convert(np.array([1, 2])).tolist() == [2, 2]
    with pytest.raises(AgentError, match="does not have"):
        convert(np.array([2, 0]))
    assert action_converter(MultiBinary(2))(np.array([0, 1])).tolist() == [0, 1]


def test_other_spaces_are_refused():
    with pytest.raises(ConfigError, match="not supported"):
        action_converter(Dict())
