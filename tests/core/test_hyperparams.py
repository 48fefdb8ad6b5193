import numpy as np
import pytest

from tensor_optix.core.hyperparams import Interval, LinearSchedule, Param, Space
from tensor_optix.errors import ConfigError

SPACE = Space(
    learning_rate=Param("log_float", 1e-5, 1e-2, 3e-4, "step size", limits="(0, inf)", tunable=True),
    gamma=Param("float", 0.9, 0.999, 0.99, "discount", limits="[0, 1)", tunable=True),
    n_epochs=Param("int", 1, 30, 10, "epochs", limits="[1, inf)"),
    double=Param("bool", default=True),
    init=Param("categorical", choices=("zeros", "orthogonal")),
)


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"unknown hyperparameter 'learning_rat' for PPO\. Did you mean 'learning"):
        SPACE.checked({"learning_rat": 1e-3}, owner="PPO")
    with pytest.raises(ConfigError, match="It knows: learning_rate, gamma"):
        SPACE.checked({"zzz": 1})


def test_what_holds_no_values_by_name_is_refused():
    with pytest.raises(ConfigError, match=r"hyperparameters of PPO are values by name, .* got None"):
        SPACE.checked(None, owner="PPO")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gamma", 1.0, r"gamma must lie in \[0, 1\), got 1.0"),
        ("gamma", "0.9", "must be a number"),
        ("gamma", True, "must be a number"),
        ("gamma", None, "must be a number"),
        ("gamma", float("nan"), "must lie in"),
        ("learning_rate", 0.0, r"\(0, inf\)"),
        ("learning_rate", float("inf"), "must lie in"),
        ("n_epochs", True, "must be a number"),
        ("n_epochs", 2.5, "whole number"),
        ("n_epochs", 0, "must lie in"),
        ("n_epochs", float("nan"), "n_epochs must"),
        ("n_epochs", float("inf"), "n_epochs must"),
        ("double", 1, "True or False"),
        ("init", "ones", "one of 'zeros', 'orthogonal'"),
    ],
)
def test_a_wrong_type_or_a_value_outside_the_hard_limits_is_refused(name, value, message):
    with pytest.raises(ConfigError, match=message):
        SPACE.checked({name: value})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n_epochs", 4.0, 4),
        ("n_epochs", np.int64(4), 4),
        ("gamma", 0, 0.0),
        ("learning_rate", np.float32(0.5), 0.5),
        ("learning_rate", 5.0, 5.0),
        ("learning_rate", np.array(0.25), 0.25),
        ("double", False, False),
        ("init", "zeros", "zeros"),
    ],
)
def test_values_take_their_declared_type_and_are_never_clamped(name, value, expected):
    checked = SPACE.checked({name: value})[name]
    assert checked == expected
    assert type(checked) is type(expected)


def test_checking_is_all_or_nothing():
    with pytest.raises(ConfigError):
        SPACE.checked({"gamma": 0.5, "n_epochs": 0})


def test_tuners_read_bounds_and_scales_of_what_is_tunable():
    assert SPACE.tuner_bounds == {"learning_rate": (1e-5, 1e-2), "gamma": (0.9, 0.999)}
    assert SPACE.log_params == ["learning_rate"]
    assert SPACE.defaults == {"learning_rate": 3e-4, "gamma": 0.99, "n_epochs": 10, "double": True}


def test_an_extended_space_redefines_and_adds():
    extended = SPACE.extended(gamma=Param("float", default=0.5), extra=Param("bool"))
    assert extended["gamma"].default == 0.5
    assert list(extended)[-1] == "extra"
    assert SPACE["gamma"].default == 0.99


@pytest.mark.parametrize(
    ("text", "inside"), [("[0, 1]", (True, True)), ("(0, 1]", (False, True)), ("[0, 1)", (True, False))]
)
def test_brackets_include_and_parentheses_exclude(text, inside):
    assert (0 in Interval(text), 1 in Interval(text)) == inside


# -- schedules -------------------------------------------------------------------------------------------------------

SCHEDULED = Space(
    rate=Param("log_float", 1e-4, 1e-2, default=1e-3, limits="(0, inf)", tunable=True, schedulable=True),
    gamma=Param("float", 0.9, 0.999, default=0.99, limits="[0, 1)", tunable=True),
)


def test_a_schedule_is_linear_and_stays_at_its_end():
    schedule = LinearSchedule(1.0, 0.2, 80)
    assert [schedule.at(step) for step in (0, 20, 80, 1000)] == pytest.approx([1.0, 0.8, 0.2, 0.2])


def test_a_schedule_may_end_on_a_bound_that_no_value_may_have():
    assert SCHEDULED.checked({"rate": LinearSchedule(1, 0, 5)}) == {"rate": LinearSchedule(1.0, 0.0, 5)}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rate": LinearSchedule(0.0, 1.0, 5)}, "rate must lie in"),
        ({"rate": LinearSchedule(1.0, -1.0, 5)}, "rate must lie in"),
        ({"rate": LinearSchedule(1.0, float("inf"), 5)}, "rate must lie in"),
        ({"gamma": LinearSchedule(0.9, 0.5, 5)}, "gamma takes a number, not a schedule"),
    ],
)
def test_impossible_schedules_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        SCHEDULED.checked(params)


@pytest.mark.parametrize("steps", [0, 2.5, True])
def test_a_schedule_needs_a_number_of_steps(steps):
    with pytest.raises(ConfigError, match="steps of a LinearSchedule"):
        LinearSchedule(1.0, 0.0, steps)


def test_what_is_scheduled_is_not_tuned():
    assert SCHEDULED.without_tuning(["rate"]).tuner_bounds == {"gamma": (0.9, 0.999)}
