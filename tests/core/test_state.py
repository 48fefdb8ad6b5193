import json

import numpy as np
import pytest

from tensor_optix.core.state import join_state, split_state
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
