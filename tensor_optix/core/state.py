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
