"""Positions of hyperparameters: exact where nothing moves, bounded, and never against the user."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.hyperparams import Param, Space
from tensor_optix.errors import ConfigError
from tensor_optix.optimizers.coordinates import Box, ChoiceAxis, NumberAxis


def test_a_logarithmic_axis_moves_by_factors():
    assert NumberAxis(1e-4, 1e-2, is_log=True).moved(1e-3, 0.25) == pytest.approx(1e-3 * 10**0.5)


def test_no_move_gives_the_very_same_value_back():
    assert NumberAxis(1e-4, 1e-2, is_log=True).moved(0.1 + 0.2, 0.0) == 0.1 + 0.2


def test_a_whole_number_stays_whole_and_moves_by_one_at_least():
    axis = NumberAxis(1, 100, is_int=True)
    assert [axis.moved(10, offset) for offset in (0.001, -0.001, 0.5)] == [11, 9, 60]
    assert all(isinstance(axis.moved(10, offset), int) for offset in (0.001, 0.5))
    assert axis.moved(100, 0.001) == 100


def test_a_choice_moves_to_the_next_one_and_back_to_itself():
    axis = ChoiceAxis(("a", "b", "c"))
    assert [axis.moved("c", 1.0), axis.moved("a", 0.1), axis.moved("b", -1.0)] == ["a", "b", "b"]


def test_a_value_of_the_users_outside_the_bounds_widens_them():
    assert NumberAxis(0.1, 0.3).holding(0.5) == NumberAxis(0.1, 0.5)


def test_hard_limits_hold_even_where_bounds_were_given_beyond_them():
    space = Space(gamma=Param("float", 0.9, 0.99, default=0.9, limits="[0, 1)"))
    axis = Box.declared({"gamma": (0.5, 1.5)}, (), space)["gamma"]
    assert axis.moved(0.9, 0.5) == 0.9


def test_an_integer_of_an_agent_without_a_declaration_stays_one():
    box = Box.declared({"n": (1, 9)}, (), None).holding({"n": 3})
    assert isinstance(box["n"].moved(3, 0.3), int)


def test_only_what_the_user_named_is_tuned_else_what_is_declared_tunable():
    space = Space(
        a=Param("float", 0, 1, default=0.5, tunable=True), b=Param("float", 0, 1, default=0.5),
        c=Param("bool", default=True, tunable=True),
    )  # fmt: skip
    assert list(Box.declared({}, (), space)) == ["a", "c"]
    assert list(Box.declared({"b": (0.2, 0.4)}, (), space)) == ["b"]


def test_what_is_under_a_schedule_is_left_to_it_even_where_bounds_were_given():
    space = Space(a=Param("float", 0, 1, default=0.5, tunable=True), b=Param("float", 0, 1, default=0.5))
    assert list(Box.declared({"a": (0.2, 0.4), "b": (0.2, 0.4)}, (), space.scheduled(["a"]))) == ["b"]


@pytest.mark.parametrize("bounds", [(1.0, 0.5), (0.5, 0.5), (float("nan"), 1.0)])
def test_impossible_bounds_are_refused(bounds):
    with pytest.raises(ConfigError, match="bounds of 'x'"):
        Box.declared({"x": bounds}, (), None)


def test_a_logarithmic_scale_through_zero_is_refused():
    with pytest.raises(ConfigError, match="logarithmic"):
        Box.declared({"x": (0.0, 1.0)}, ("x",), None)


def test_text_in_place_of_a_tuned_number_is_refused():
    with pytest.raises(ConfigError, match="'x' cannot be tuned: it must be a finite number"):
        Box.declared({"x": (0.0, 1.0)}, (), None).holding({"x": "fast"})


@given(st.floats(0.0, 1.0), st.floats(-2.0, 2.0), st.booleans())
def test_a_move_stays_inside_the_range(position, offset, is_log):
    axis = NumberAxis(1e-3, 10.0, is_log=is_log)
    assert axis.low <= axis.moved(axis.value(position), offset) <= axis.high
