"""A policy file is believed only where it describes a policy; nothing in it is ever run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import CheckpointError, NumpyPolicy
from tensor_optix.errors import ConfigError
from tensor_optix.export.heads import AsChosen, Bounds, Categorical, EpsilonGreedy, Indices, SquashedGaussian
from tensor_optix.export.layers import (
    FLATTEN,
    Activation,
    AddAxis,
    Conv,
    Dense,
    LayerNorm,
    Normalise,
    Permute,
    Reshape,
    Scale,
)
from tensor_optix.export.policy_files import write_policy, write_policy_directory
from tensor_optix.storage import FileSystem
from tensor_optix.storage.bundle import read_bundle, save_bundle


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def a_policy(**changes: Any) -> NumpyPolicy:
    """One with every kind of layer."""
    layers = (
        Normalise(np.zeros((4, 6)), np.full((4, 6), 2.0), 10.0), Scale(0.5, 0.25), AddAxis(), Permute((1, 0, 2)),
        Conv(numbers(3, 3, 1, 2), numbers(2), (2, 1), (1, 0)), Activation("elu", 0.5), FLATTEN,
        Reshape((6, -1)), FLATTEN,
        Dense(numbers(12, 5), numbers(5)), LayerNorm(numbers(5), numbers(5), 1e-5), Dense(numbers(5, 4), numbers(4)),
    )  # fmt: skip
    fields = {"observation_shape": (4, 6), "layers": layers, "head": Categorical(), "units": Indices(2), "origin": "A"}
    return NumpyPolicy(**{**fields, **changes})


BOX = Bounds(np.array([[-1.0], [0.0]]), np.array([[1.0], [9.0]]))


@pytest.mark.parametrize("write", [write_policy, write_policy_directory])
@pytest.mark.parametrize(
    "changes",
    [{}, {"head": EpsilonGreedy(0.25), "units": AsChosen()}, {"head": SquashedGaussian(), "units": BOX, "origin": ""}],
)
def test_a_policy_comes_back_the_same(write, changes, tmp_path):
    policy, x = a_policy(**changes), numbers(9, 4, 6)
    write(policy, tmp_path / "policy")
    again = NumpyPolicy.load(tmp_path / "policy")
    assert np.array_equal(again.outputs(x), policy.outputs(x))
    drawn = [p.act_batch(x, deterministic=False, rng=np.random.default_rng(1)) for p in (policy, again)]
    assert np.array_equal(*drawn)
    assert again.origin == policy.origin


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], Any]) -> None:
    state, arrays = read_bundle(FileSystem(), path)
    change(state, arrays)
    save_bundle(FileSystem(), path, state=state, arrays=arrays)


BOUNDS = {"part": "Bounds", "low": "layers.9.bias", "high": "layers.9.bias"}
CHANGES = {
    "another kind": lambda s, a: s.update(kind="pickle"),
    "another version": lambda s, a: s.update(format_version=2),
    "no layers": lambda s, a: s.pop("layers"),
    "layers that are none": lambda s, a: s.update(layers=7),
    "an unknown layer": lambda s, a: s["layers"][9].update(part="Lambda"),
    "a head among the layers": lambda s, a: s["layers"].insert(0, {"part": "Categorical"}),
    "a layer as the head": lambda s, a: s.update(head={"part": "AddAxis"}),
    "a field too many": lambda s, a: s["layers"][1].update(code="1"),
    "a field of another type": lambda s, a: s["layers"][1].update(factor="0.5"),
    "a missing array": lambda s, a: a.pop("layers.9.weight"),
    "an array of integers": lambda s, a: a.update({"layers.9.bias": np.zeros(5, np.int64)}),
    "an array of another shape": lambda s, a: a.update({"layers.9.bias": np.zeros(6, np.float32)}),
    "a stride of zero": lambda s, a: s["layers"][4].update(strides=[0, 1]),
    "a padding that fills the memory": lambda s, a: s["layers"][4].update(padding=[1 << 30, 1 << 30]),
    "an activation of its own": lambda s, a: s["layers"][5].update(function="__import__"),
    "axes that do not exist": lambda s, a: s["layers"][3].update(axes=[0, 1, 5]),
    "rows of no numbers": lambda s, a: s.update(observation_shape=[0, 6]),
    "rows that fill the memory": lambda s, a: s.update(observation_shape=[1 << 40, 6]),
    "outputs that are no pairs": lambda s, a: (
        s.update(head={"part": "SquashedGaussian"}),
        a.update({"layers.11.weight": numbers(5, 3), "layers.11.bias": numbers(3)}),
    ),
    "bounds for indices": lambda s, a: s.update(units=BOUNDS),
    "bounds of other sizes": lambda s, a: s.update(head={"part": "SquashedGaussian"}, units=BOUNDS),
    "an index of a box": lambda s, a: s.update(head={"part": "SquashedGaussian"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_describes_no_policy_is_refused_by_its_path(change, tmp_path):
    path = tmp_path / "policy"
    write_policy(a_policy(), path)
    changed(path, lambda state, arrays: None)
    NumpyPolicy.load(path)
    changed(path, change)
    with pytest.raises(CheckpointError, match=str(path)):
        NumpyPolicy.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        NumpyPolicy.load(tmp_path / "nowhere")


def test_observations_of_another_shape_are_refused():
    with pytest.raises(ConfigError, match=r"observations of shape \(4, 6\), got \(6, 4\)"):
        a_policy().act(np.zeros((6, 4)))


def test_drawn_actions_need_a_generator():
    with pytest.raises(ConfigError, match="need a generator"):
        a_policy().act(np.zeros((4, 6)), deterministic=False)


def test_actions_reach_both_bounds_and_never_leave_them():
    policy = a_policy(
        observation_shape=(1,), head=SquashedGaussian(), units=BOX,
        layers=(Dense(np.array([[1.0, -1.0, 0.0, 0.0]], np.float32), np.zeros(4, np.float32)),),
    )  # fmt: skip
    actions = policy.act_batch(np.array([[1e6], [0.0], [-1e6]]))
    assert actions.tolist() == [[[1.0], [0.0]], [[0.0], [4.5]], [[-1.0], [9.0]]]


def test_observations_are_normalised_in_the_precision_that_they_have_and_kept_within_the_limit():
    layer = Normalise(np.array([1e8]), np.array([2.0]), 10.0)
    assert layer(np.array([[1e8 + 3.0], [-1e9], [1e9]])).tolist() == [[1.5], [-10.0], [10.0]]
