"""How is the state of an optax transformation written down by the names of parameters, and read again?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, tree_flatten_with_path

from tensor_optix.backends.base import NetworkState, differences, summary
from tensor_optix.backends.flax_modules import placed_like
from tensor_optix.errors import ArchitectureMismatch

Path = tuple[Any, ...]
"""Where a leaf is in a tree: the keys on the way to it."""

NOT_OF_A_PARAMETER = "optimizer"
"""Under this name is what belongs to no single parameter: counts of steps, injected hyperparameters."""


def moments_by_parameter(state: Any, indices: Any) -> NetworkState:
    """Parameter name -> kind (``"0.mu"``: where it is in the state) -> a copy on the host."""
    found: NetworkState = {}
    for (parameter, kind), leaf in _named_leaves(state, indices):
        found.setdefault(parameter, {})[kind] = np.array(_plain(leaf))
    return found


def state_from_moments(own: Any, moments: Mapping[str, Mapping[str, np.ndarray]], indices: Any, source: str) -> Any:
    """A state like ``own`` with the arrays of ``moments``. Raises ArchitectureMismatch where they do not fit."""
    if wrong := differences(moments_by_parameter(own, indices), moments):
        raise ArchitectureMismatch(source, f"moments of other networks: {summary(wrong)}")
    leaves = [
        _restored(leaf, moments[parameter][kind]) for (parameter, kind), leaf in _named_leaves(own, indices)
    ]
    return jax.tree.unflatten(jax.tree.structure(own), leaves)


def type_of(state: Any) -> str:
    """Which transformations made ``state``: the names of their states, in order."""
    return "+".join(_type_names(state)) or "stateless"


def _type_names(node: Any) -> list[str]:
    own = [type(node).__name__] if isinstance(node, tuple) and type(node) is not tuple else []
    if isinstance(node, dict):
        children = list(node.values())
    else:
        children = list(node) if isinstance(node, list | tuple) else []
    return [*own, *(name for child in children for name in _type_names(child))]


def _named_leaves(state: Any, indices: Any) -> list[tuple[tuple[str, str], Any]]:
    """((parameter, kind), leaf) in the order of the state's leaves."""
    parameters = {path: _text(path) for path, _ in tree_flatten_with_path(indices)[0]}
    return [(_name(path, parameters), leaf) for path, leaf in tree_flatten_with_path(state)[0]]


def _name(path: Path, parameters: Mapping[Path, str]) -> tuple[str, str]:
    for start in range(len(path)):
        if path[start:] in parameters:
            return parameters[path[start:]], _text(path[:start])
    return NOT_OF_A_PARAMETER, _text(path)


def _text(path: Path) -> str:
    return ".".join(_entry(key) for key in path)


def _entry(key: Any) -> str:
    match key:
        case DictKey(key=name) | FlattenedIndexKey(key=name) | GetAttrKey(name=name) | SequenceKey(idx=name):
            return str(name)
    return str(key)


def _plain(leaf: Any) -> Any:
    """An array that NumPy knows: a random key by its data."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _restored(own: Any, given: np.ndarray) -> Any:
    if _is_key(own):
        return jax.random.wrap_key_data(jnp.array(given), impl=str(jax.random.key_impl(own)))
    return placed_like(own, given)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
