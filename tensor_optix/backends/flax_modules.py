"""How do modules become arrays and a pure function of them, and arrays become modules again?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tensor_optix.backends.base import NetworkState, summary
from tensor_optix.errors import ConfigError

Values = list[Any]
"""The arrays of all variables, each variable once, in the order of ``Modules.variables``."""

_MODES = ("deterministic", "use_running_average")  # what nnx's own train() and eval() switch


@dataclass(frozen=True)
class Structure:
    """Modules without their arrays, in one mode."""

    graph: Any
    state: Any
    paths: tuple[Any, ...]

    @classmethod
    def of(cls, networks: Mapping[str, nnx.Module]) -> Structure:
        """As the modules are now; modules that share variables share them here too."""
        graph, state = nnx.split(dict(networks))
        paths = tuple(path for path, _ in nnx.to_flat_state(state))
        return cls(graph, jax.tree.structure(state), paths)

    def networks(self, values: Values) -> dict[str, nnx.Module]:
        """Modules of their own over ``values``, for use inside a compiled function."""
        state = jax.tree.unflatten(self.state, values)
        networks: dict[str, nnx.Module] = nnx.merge(self.graph, state)
        return networks

    def values(self, networks: Mapping[str, nnx.Module]) -> Values:
        """What ``networks`` hold now: calls may have changed statistics and random counters."""
        found = dict(nnx.to_flat_state(nnx.state(dict(networks))))
        return [found[path].get_value() for path in self.paths]


class ScalarParameter(nnx.Module):
    """A network that is one number: called with anything, it gives its value (SAC's log α)."""

    def __init__(self, value: float) -> None:
        self.value = nnx.Param(jnp.array(value, dtype=jnp.float32))

    def __call__(self, x: Any = None) -> jax.Array:
        value: jax.Array = self.value[...]
        return value


def target_of(module: nnx.Module) -> nnx.Module:
    """A copy to follow ``module``, in evaluation mode: targets are no place for dropout's noise."""
    target: nnx.Module = nnx.clone(module)
    target.eval()  # type: ignore[no-untyped-call]
    return target


def move_networks(networks: Mapping[str, nnx.Module], device: str) -> None:
    """Put all of them on ``device``: "auto" leaves them where JAX put them, else a platform ("cpu", "gpu", "cuda")."""
    if device == "auto":
        return
    try:
        chosen = jax.devices(device)[0]
    except RuntimeError as error:
        raise ConfigError(f"device must be one that JAX has here, got {device!r}: {error}") from error
    for _, variable in _variables(networks):
        variable.set_value(jax.device_put(variable.get_value(), chosen))


class Modules:
    """The user's modules: their variables stay where they are, and are read and written here.

    Raises ConfigError for what is no module, for a recurrent network and for weights that are not float32.
    """

    def __init__(self, networks: Mapping[str, nnx.Module]) -> None:
        self.networks = dict(networks)
        for name, module in self.networks.items():
            if not isinstance(module, nnx.Module):
                raise ConfigError(f"{name} must be a flax.nnx.Module, got {type(module).__name__}")
        for name, module in self.networks.items():
            _refuse_recurrent(name, module)
        structure = Structure.of(self.networks)
        found = dict(_variables(self.networks))
        self.variables = [found[path] for path in structure.paths]
        index = {id(variable): number for number, variable in enumerate(self.variables)}
        self.parameters = _names_by_network(self.networks, index, lambda variable: isinstance(variable, nnx.Param))
        self.stored = _names_by_network(self.networks, index, lambda variable: not isinstance(variable, nnx.RngState))
        self.random = [n for n, variable in enumerate(self.variables) if isinstance(variable, nnx.RngState)]
        _require_float32(self.parameters, self.variables)
        self._modes = [
            (module, flag)
            for _, module in nnx.iter_graph(self.networks) if isinstance(module, nnx.Module)
            for flag in _MODES if flag in vars(module)
        ]  # fmt: skip
        self._structures = {self.mode: structure}
        self.evaluation = _in_evaluation_mode(self.networks)

    @property
    def mode(self) -> tuple[Any, ...]:
        """Which layers are in training mode: a value to tell one structure from another by."""
        return tuple(vars(module)[flag] for module, flag in self._modes)

    @property
    def training(self) -> Structure:
        """In the mode in which the user left each layer."""
        if self.mode not in self._structures:
            self._structures[self.mode] = Structure.of(self.networks)
        return self._structures[self.mode]

    def acting(self, name: str) -> tuple[Structure, list[int]]:
        """One network alone in evaluation mode, and which of the values are its own."""
        alone = {name: self.networks[name]}
        index = {id(variable): number for number, variable in enumerate(self.variables)}
        own = dict(_variables(alone))
        structure = _in_evaluation_mode(alone)
        return structure, [index[id(own[path])] for path in structure.paths]

    def trained(self, networks: Iterable[str]) -> dict[str, dict[str, int]]:
        """Indices of the parameters of these networks by name, each index once (a trunk may be shared)."""
        seen: set[int] = set()
        names: dict[str, dict[str, int]] = {}
        for name in networks:
            fresh = {key: index for key, index in self.parameters[name].items() if index not in seen}
            names[name] = fresh
            seen.update(fresh.values())
        return names

    def read(self) -> Values:
        """The arrays as they are (nnx's plain accessors take 20 microseconds each, which acting and replay notice)."""
        return [variable.get_raw_value() for variable in self.variables]

    def write(self, values: Values) -> None:
        """Hand new arrays to the user's modules (what only drew random numbers keeps its own).

        Never inside a transformation, which is all that nnx's own ``set_raw_value`` would make sure of, twice.
        """
        for number, (variable, value) in enumerate(zip(self.variables, values, strict=True)):
            if number not in self.random:
                object.__setattr__(variable, "_raw_value", value)

    def seeded(self, values: Values, seed: int) -> Values:
        """``values`` with random keys that follow from ``seed`` and counters at zero."""
        seeded = list(values)
        for stream, number in enumerate(self.random):
            if isinstance(self.variables[number], nnx.RngKey):
                root = jax.random.key(seed, impl=str(jax.random.key_impl(values[number])))
                keys = jax.random.split(jax.random.fold_in(root, stream), np.shape(values[number]))
                seeded[number] = keys
            else:
                seeded[number] = jnp.zeros_like(values[number])
        return seeded

    def state(self) -> NetworkState:
        """Copies on the host, by network and by path in it."""
        values = self.read()
        return {
            name: {key: np.array(values[index]) for key, index in keys.items()} for name, keys in self.stored.items()
        }

    def load(self, state: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Take over what ``state`` has, which fits."""
        values = self.read()
        for name, keys in self.stored.items():
            for key, index in keys.items():
                values[index] = placed_like(values[index], state[name][key])
        self.write(values)


def placed_like(own: Any, given: Any) -> Any:
    """A copy of ``given`` of the type of ``own`` and, where that was put on a device on purpose, on that device.

    (An array that is bound to a device and one that is merely there are two programs to JAX.)
    """
    copy = jnp.array(given, dtype=own.dtype)
    is_bound = isinstance(own, jax.Array) and own.committed
    return jax.device_put(copy, own.sharding) if is_bound else copy


def _variables(networks: Mapping[str, nnx.Module]) -> list[tuple[Any, nnx.Variable[Any]]]:
    return [(path, node) for path, node in nnx.iter_graph(dict(networks)) if isinstance(node, nnx.Variable)]


def _names_by_network(
    networks: Mapping[str, nnx.Module], index: Mapping[int, int], belongs: Callable[[nnx.Variable[Any]], bool]
) -> dict[str, dict[str, int]]:
    return {
        name: {
            ".".join(map(str, path)): index[id(variable)]
            for path, variable in nnx.iter_graph(module)
            if isinstance(variable, nnx.Variable) and belongs(variable)
        }
        for name, module in networks.items()
    }


def _in_evaluation_mode(networks: Mapping[str, nnx.Module]) -> Structure:
    copies = nnx.clone(dict(networks))
    for module in copies.values():
        module.eval()  # type: ignore[no-untyped-call]
    return Structure.of(copies)


def _refuse_recurrent(name: str, module: nnx.Module) -> None:
    for _, layer in nnx.iter_graph(module):
        if isinstance(layer, nnx.RNNCellBase | nnx.RNN | nnx.Bidirectional):
            raise ConfigError(
                f"{name} contains a recurrent layer ({type(layer).__name__}); built-in agents are feed-forward: "
                f"stack past observations instead, or write an agent of your own"
            )


def _require_float32(parameters: Mapping[str, Mapping[str, int]], variables: Sequence[nnx.Variable[Any]]) -> None:
    others = [
        f"{name}.{key} is {variables[index].get_value().dtype}"
        for name, keys in parameters.items()
        for key, index in keys.items()
        if variables[index].get_value().dtype != jnp.float32
    ]
    if others:
        raise ConfigError(
            f"the networks must be in float32 ({summary(others)}): build them with param_dtype=jnp.float32"
        )
