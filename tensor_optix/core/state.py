"""State as values: every stateful part gives and takes a tree of JSON values and arrays.

A tree is nested dicts and lists whose leaves are None, bool, int, float, str or NumPy arrays. ``split_state`` parts
it into what JSON can hold and a flat table of arrays, which is all that storage knows about.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tensor_optix.errors import ConfigError

ARRAY_MARK = "__array__"


class Stateful(Protocol):
    """A part that can be saved and continued."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that the part needs to go on exactly as it would have."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state that ``state_dict`` of the same kind of part gave."""
        ...


def split_state(state: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """``(json, arrays)``: in ``json`` each array is replaced by ``{"__array__": name}``; its name is its path.

    Raises ConfigError where two keys look alike once they are text or parts of a path, or where one is the mark.
    """
    arrays: dict[str, np.ndarray] = {}

    def walk(node: Any, path: str) -> Any:
        if isinstance(node, np.ndarray):
            if path in arrays:
                raise ConfigError(f"two arrays of a state would both be called {path!r}: rename a key that holds '/'")
            arrays[path] = node
            return {ARRAY_MARK: path}
        if isinstance(node, dict):
            if len(set(map(str, node))) != len(node) or ARRAY_MARK in node:
                raise ConfigError(f"a state has keys at {path!r} that look alike as text, or the key {ARRAY_MARK!r}")
            return {str(key): walk(child, f"{path}/{key}" if path else str(key)) for key, child in node.items()}
        if isinstance(node, list | tuple):
            return [walk(child, f"{path}/{index}" if path else str(index)) for index, child in enumerate(node)]
        if isinstance(node, np.generic):
            return node.item()
        return node

    return walk(state, ""), arrays


def join_state(json: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of ``split_state``. Raises KeyError when an array is missing."""
    if isinstance(json, dict):
        if set(json) == {ARRAY_MARK}:
            return arrays[json[ARRAY_MARK]]
        return {key: join_state(child, arrays) for key, child in json.items()}
    if isinstance(json, list):
        return [join_state(child, arrays) for child in json]
    return json


def misfit(state: Any, pattern: Any, path: str = "state") -> str | None:
    """Where ``state`` cannot be a later state of the parts that gave ``pattern``; None when it can.

    Keys of the pattern must be there, values have its types (a whole number may stand for a fraction), arrays its
    kind and rank. Where the pattern says None or holds nothing, anything may have come since.
    """
    if pattern is None:
        return None
    if isinstance(pattern, np.ndarray):
        fits = isinstance(state, np.ndarray) and (state.dtype.kind, state.ndim) == (pattern.dtype.kind, pattern.ndim)
        return None if fits else f"{path} is no array of kind {pattern.dtype.kind!r} and rank {pattern.ndim}"
    if isinstance(pattern, dict):
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            return f"{path} is no table"
        if lacking := [str(key) for key in pattern if str(key) not in state]:
            return f"{path} lacks {lacking[0]}"
        found = (misfit(state[str(key)], child, f"{path}/{key}") for key, child in pattern.items())
        return next((text for text in found if text), None)
    if isinstance(pattern, list | tuple):
        return None if isinstance(state, list) else f"{path} is no list"
    kinds = (int, float) if isinstance(pattern, float) else (type(pattern),)
    return None if type(state) in kinds else f"{path} is no {type(pattern).__name__}"
