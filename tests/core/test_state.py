import json

import numpy as np
import pytest

from tensor_optix.core.state import join_state, misfit, split_state
from tensor_optix.errors import ConfigError

TREE = {"n": 1, "f": 0.5, "none": None, "flag": True, "name": "x", "list": [np.arange(3), {"deep": np.eye(2)}]}


def test_arrays_go_to_a_table_under_their_path():
    text, arrays = split_state(TREE)
    assert sorted(arrays) == ["list/0", "list/1/deep"]
    assert json.loads(json.dumps(text)) == text


def test_joining_is_the_inverse_of_splitting():
    text, arrays = split_state(TREE)
    joined = join_state(json.loads(json.dumps(text)), arrays)
    np.testing.assert_array_equal(joined["list"][0], np.arange(3))
    np.testing.assert_array_equal(joined["list"][1]["deep"], np.eye(2))
    assert {key: joined[key] for key in ("n", "f", "none", "flag", "name")} == {
        key: TREE[key] for key in ("n", "f", "none", "flag", "name")
    }


def test_numpy_scalars_and_tuples_become_json_values():
    text, arrays = split_state({"a": np.float32(0.5), "b": (np.int32(1), 2)})
    assert json.dumps(text) == '{"a": 0.5, "b": [1, 2]}'
    assert arrays == {}


def test_an_array_that_is_missing_is_an_error():
    with pytest.raises(KeyError):
        join_state({"a": {"__array__": "a"}}, {})


@pytest.mark.parametrize(
    "tree",
    [
        {"a/b": np.zeros(1), "a": {"b": np.ones(1)}},  # both would be called a/b
        {1: np.zeros(1), "1": np.ones(1)},
        {"a": {"__array__": "b"}},
    ],
)
def test_a_tree_that_could_not_come_back_is_refused(tree):
    with pytest.raises(ConfigError):
        split_state(tree)


PATTERN = {"n": 1, "x": 0.5, "on": True, "name": "a", "later": None, "rows": [1], "w": np.zeros((2, 3), np.float32)}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"n": 1.5}, "state/n is no int"),
        ({"n": True}, "state/n is no int"),
        ({"x": "0.5"}, "state/x is no float"),
        ({"rows": {}}, "state/rows is no list"),
        ({"w": np.zeros(3, np.float32)}, "state/w is no array of kind 'f' and rank 2"),
        ({"w": [0.0]}, "state/w is no array of kind 'f' and rank 2"),
        ({"x": 1, "later": {"any": 1}, "w": np.zeros((9, 9)), "more": 2, "rows": []}, None),
    ],
)
def test_a_state_that_does_not_fit_is_told_by_its_first_misfit(change, problem):
    assert misfit({**PATTERN, **change}, PATTERN) == problem


def test_a_lacking_entry_is_a_misfit():
    assert misfit({"n": 1}, {"n": 1, "deep": {"x": 1}}) == "state lacks deep"
    assert misfit({"deep": 3}, {"deep": {"x": 1}}) == "state/deep is no table"
