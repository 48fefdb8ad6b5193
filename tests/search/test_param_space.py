"""What is searched, and what is refused."""

import numpy as np
import pytest

from tensor_optix.errors import ConfigError
from tensor_optix.search.param_space import SearchSpace
from tests.search.surface import SPACE


class Lowest:
    """Draws the lower end of everything, and remembers what it was asked."""

    def __init__(self):
        self.asked = {}

    def suggest_float(self, name, low, high, *, log=False):
        self.asked[name] = ("float", low, high, log)
        return low

    def suggest_int(self, name, low, high, *, log=False):
        self.asked[name] = ("int", low, high, log)
        return low

    def suggest_categorical(self, name, choices):
        self.asked[name] = ("categorical", *choices)
        return choices[0]


def test_a_users_specification_is_taken_literally():
    trial = Lowest()
    drawn = SearchSpace.given({
        "a": ("float", 0.95, 0.999), "b": ("log_float", 1e-4, 1e-3), "c": ("int", 1, 9), "d": ("log_int", 8, 64),
        "e": ("categorical", "x", "y"),
    }).drawn(trial)  # fmt: skip
    assert drawn == {"a": 0.95, "b": 1e-4, "c": 1, "d": 8, "e": "x"}
    assert trial.asked == {
        "a": ("float", 0.95, 0.999, False), "b": ("float", 1e-4, 1e-3, True), "c": ("int", 1, 9, False),
        "d": ("int", 8, 64, True), "e": ("categorical", "x", "y"),
    }  # fmt: skip


def test_a_declared_discount_is_searched_by_its_distance_from_1():
    trial = Lowest()
    assert SearchSpace.declared(SPACE).drawn(trial)["gamma"] == pytest.approx(0.9999)
    assert trial.asked["1-gamma"] == ("float", pytest.approx(1e-4), pytest.approx(0.1), True)
    assert "width" not in trial.asked  # it is not declared tunable


def test_a_value_outside_a_declared_range_widens_it():
    trial = Lowest()
    space = SearchSpace.declared(SPACE).holding({"learning_rate": 0.5, "gamma": 0.5, "unknown": 1})
    space.drawn(trial)
    assert trial.asked["learning_rate"] == ("float", 1e-5, 0.5, True)
    assert trial.asked["1-gamma"] == ("float", pytest.approx(1e-4), 0.5, True)
    words = SearchSpace.given({"kind": ("categorical", "a", "b")})
    assert words.holding({"kind": "c"}).queued({"kind": "c"}) == {"kind": "c"}


def test_queued_values_are_drawn_again_and_those_outside_are_left_out():
    space = SearchSpace.declared(SPACE)
    assert space.queued({"gamma": 0.99, "learning_rate": 3.0}) == {"1-gamma": pytest.approx(0.01)}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (("lgo_float", 1e-4, 1e-3), "Did you mean 'log_float'"),
        (("float", 1.0, 0.5), "low <= high"),
        (("float", 1.0), "low, high"),
        (("log_float", 0.0, 1.0), "above 0"),
        (("int", 0.5, 2), "whole numbers"),
        (("categorical",), "lists no values"),
        ("float", "must be one of"),
    ],
)
def test_an_impossible_specification_is_refused_by_name(spec, message):
    with pytest.raises(ConfigError, match=message):
        SearchSpace.given({"x": spec} if spec != "float" else {"x": 5})


def test_an_empty_space_and_an_agent_without_tunable_parameters_are_refused():
    with pytest.raises(ConfigError, match="nothing to search"):
        SearchSpace.given({})
    with pytest.raises(ConfigError, match="param_space="):
        SearchSpace.declared(None)


def test_numpys_numbers_are_bounds_and_choices_as_pythons_are():
    space = SearchSpace.given({
        "rate": ("float", np.float32(0.0), np.float32(0.5)), "n": ("int", np.int64(1), np.int64(3)),
        "width": ("categorical", np.int64(16), np.float32(0.5)),
    })  # fmt: skip
    values = [v for d in space.dimensions.values() for v in (d.low, d.high, *d.choices) if v is not None]
    assert [type(value) for value in values] == [float, float, int, int, int, float]
