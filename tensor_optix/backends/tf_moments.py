"""What a Keras optimizer of any class remembers of each weight, as arrays under the weights' names.

An optimizer keeps its slots in lists that run parallel to the weights it was built with (Adam's ``_momentums``); what
is in no such list (the count of iterations) belongs to all weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_optix.backends.tf_import import keras

Variable = Any
Names = Mapping[int, str]
"""id of a weight -> its name."""

_NOT_SLOTS = ("_trainable_variables", "_variables")


def optimizer_state(optimizer: Any, names: Names) -> dict[str, Any]:
    """``{"type", "shared": {kind: array}, "moments": {name of the weight: {kind: array}}}``."""
    return {
        "type": type(optimizer).__name__,
        "shared": {kind: _array(variable) for kind, variable in shared_variables(optimizer).items()},
        "moments": {
            name: {kind: _array(variable) for kind, variable in slots.items()}
            for name, slots in slots_by_weight(optimizer, names).items()
        },
    }


def optimizer_differences(optimizer: Any, names: Names, state: Mapping[str, Any]) -> list[str]:
    """What keeps ``state`` from being loaded into this optimizer; empty when nothing does."""
    if state["type"] != type(optimizer).__name__:
        return [f"moments of {state['type']}, but here is {type(optimizer).__name__}"]
    pairs = [("the optimizer", shared_variables(optimizer), state["shared"])]
    own, given = slots_by_weight(optimizer, names), state["moments"]
    texts = [f"{name} is not optimized here" for name in given if name not in own]
    pairs += [(name, slots, given.get(name, {})) for name, slots in own.items()]
    for name, variables, arrays in pairs:
        if set(variables) != set(arrays):
            texts.append(f"{name} has moments {sorted(arrays)} there and {sorted(variables)} here")
        texts += [
            f"{kind} of {name} is {np.shape(arrays[kind])} there and {tuple(variable.shape)} here"
            for kind, variable in variables.items()
            if kind in arrays and np.shape(arrays[kind]) != tuple(variable.shape)
        ]
    return texts


def load_optimizer(optimizer: Any, names: Names, state: Mapping[str, Any]) -> None:
    """Take over a state that has no differences."""
    for kind, variable in shared_variables(optimizer).items():
        variable.assign(state["shared"][kind])
    for name, slots in slots_by_weight(optimizer, names).items():
        for kind, variable in slots.items():
            variable.assign(state["moments"][name][kind])


def slots_by_weight(optimizer: Any, names: Names) -> dict[str, dict[str, Variable]]:
    """name of the weight -> kind -> variable; the kinds are the names of Keras' own lists."""
    slots: dict[str, dict[str, Variable]] = {}
    for kind, variables in _slot_lists(optimizer).items():
        for weight, variable in zip(optimizer._trainable_variables, variables, strict=True):
            if isinstance(variable, keras.Variable) and id(weight) in names:
                slots.setdefault(names[id(weight)], {})[kind.strip("_")] = variable
    return slots


def shared_variables(optimizer: Any) -> dict[str, Variable]:
    """What is in no list: the iterations, Nadam's product. The learning rate is a hyperparameter, not a memory."""
    listed = {id(variable) for variables in _slot_lists(optimizer).values() for variable in variables}
    listed.add(id(optimizer.learning_rate))
    shared = [variable for variable in optimizer.variables if id(variable) not in listed]
    return {f"{number}.{_kind(variable)}": variable for number, variable in enumerate(shared)}


def _kind(variable: Variable) -> str:
    """Its name without the number that tells it from the variables of other optimizers."""
    return re.sub(r"_\d+$", "", str(variable.name))


def _slot_lists(optimizer: Any) -> dict[str, list[Variable]]:
    n_weights = len(optimizer._trainable_variables) if optimizer.built else -1
    return {
        kind: list(node)
        for kind, node in vars(optimizer).items()
        if kind not in _NOT_SLOTS and isinstance(node, list) and len(node) == n_weights
    }


def _array(variable: Variable) -> np.ndarray:
    array: np.ndarray = np.array(variable.numpy())
    return array
