"""What a learner trains in TensorFlow: Keras layers, copies of them, single numbers; and their weights' names.

Keras numbers its layers through the whole process ("dense_7"), so that two networks of one architecture have other
names. Here a name says where a weight is in its own network: "dense.kernel", "dense_1.kernel", ...
"""

from __future__ import annotations

import re
from typing import Any

from tensor_optix.backends.tf_import import keras
from tensor_optix.errors import ConfigError

Variable = Any
"""A ``keras.Variable``."""


class TargetCopy:
    """A network's equal with weights of its own: the target network of any built Keras layer, however it was written.

    It calls the very layers of ``source`` with other values in their places (no configuration has to be rebuilt), in
    inference mode unless told otherwise.
    Raises ConfigError when ``source`` has no weights yet.
    """

    def __init__(self, source: Any) -> None:
        if not source.built:
            raise ConfigError(
                f"{source.name} has no weights yet, so that no target network can be copied from it: give it an Input "
                "layer, or call it once on a batch"
            )
        self._source = source
        self._originals = list(source.weights)
        self.weights = [_copy(variable) for variable in self._originals]

    @property
    def variables(self) -> list[Variable]:
        """All that it has of its own."""
        return self.weights

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        values = [variable.value for variable in self.weights]
        with keras.StatelessScope(state_mapping=list(zip(self._originals, values, strict=True))):
            return self._source(inputs, training=training)

    def named_weights(self) -> dict[str, Variable]:
        """The copies, under the names that their originals have."""
        return dict(zip(named_weights(self._source), self.weights, strict=True))


class ScalarParameter(keras.layers.Layer):  # type: ignore[misc]
    """A network that is a single number whatever its input: SAC's log α."""

    def __init__(self, initial: float, dtype: str = "float32") -> None:
        super().__init__(dtype=dtype)
        self.value = self.add_weight(shape=(), initializer=keras.initializers.Constant(initial), name="value")
        self.built = True

    def call(self, inputs: Any) -> Any:
        return self.value * 1.0


Network = Any
"""A ``keras.layers.Layer`` (models are layers) or a ``TargetCopy``."""


def is_built(network: Network) -> bool:
    """True once its weights exist."""
    return isinstance(network, TargetCopy) or bool(network.built)


def trained_variables(network: Network) -> list[Variable]:
    """Those that an optimizer may change; a copy has none."""
    return [] if isinstance(network, TargetCopy) else list(network.trainable_variables)


def buffers(network: Network) -> list[Variable]:
    """Weights that a forward pass in training mode changes by itself (batch norm's moving averages)."""
    return [] if isinstance(network, TargetCopy) else list(network.non_trainable_weights)


def seed_states(network: Network) -> list[Variable]:
    """The counters from which dropout and its like draw."""
    if isinstance(network, TargetCopy):
        return []
    weights = {id(variable) for variable in network.weights}
    others = [variable for variable in network.non_trainable_variables if id(variable) not in weights]
    return [variable for variable in others if variable.name == "seed_generator_state"]


def named_weights(network: Network) -> dict[str, Variable]:
    """Every weight and buffer by its name within the network, in Keras' order."""
    if isinstance(network, TargetCopy):
        return network.named_weights()
    names = _Names(network.name)
    return {names.of(variable.path.split("/")): variable for variable in network.weights}


def all_layers(network: Network) -> list[Any]:
    """The network and every layer in it, however deep; none of a copy (its source is asked)."""
    return [] if isinstance(network, TargetCopy) else list(network._flatten_layers())


class _Names:
    """Gives layers their numbers anew, in the order in which they are met."""

    def __init__(self, network_name: str) -> None:
        self._network_name = network_name
        self._given: dict[tuple[str, ...], str] = {}
        self._taken: set[tuple[str, ...]] = set()

    def of(self, path: list[str]) -> str:
        """sequential_3/dense_7/kernel -> dense.kernel, where sequential_3 is the network itself."""
        *owners, variable = path
        outer = 1 if owners and owners[0] == self._network_name else 0
        parts: tuple[str, ...] = ()
        for depth in range(outer, len(owners)):
            original = tuple(owners[: depth + 1])
            if original not in self._given:
                self._given[original] = self._free(parts, re.sub(r"_\d+$", "", owners[depth]))
            parts = (*parts, self._given[original])
        return ".".join((*parts, self._free(parts, variable)))

    def _free(self, parts: tuple[str, ...], base: str) -> str:
        name, number = base, 0
        while (*parts, name) in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add((*parts, name))
        return name


def _copy(variable: Variable) -> Variable:
    return keras.Variable(variable.numpy(), trainable=False, dtype=variable.dtype, name=variable.name)
