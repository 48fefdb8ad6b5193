"""How is a NumpyPolicy kept on disk? As arrays by name and a description in JSON, in one file or in a directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix._about import VERSION
from tensor_optix.errors import CheckpointError, ConfigError
from tensor_optix.export import heads, layers
from tensor_optix.export.numpy_policy import NumpyPolicy
from tensor_optix.storage import FileSystem, read_archive, save_archive
from tensor_optix.storage.bundle import read_bundle, save_bundle

KIND = "tensor-optix policy"
FORMAT_VERSION = 1

_PARTS: dict[str, type] = {
    part.__name__: part
    for part in (
        layers.Normalise, layers.Dense, layers.Conv, layers.LayerNorm, layers.Activation, layers.Scale,
        layers.Reshape, layers.Permute, layers.AddAxis, heads.Categorical, heads.EpsilonGreedy,
        heads.SquashedGaussian, heads.AsChosen, heads.Indices, heads.Bounds,
    )
}  # fmt: skip

_READERS: dict[str, Callable[[Any], Any]] = {
    "np.ndarray": lambda value: _checked(value, isinstance(value, np.ndarray) and value.dtype.kind == "f"),
    "float": lambda value: _checked(value, type(value) is float),
    "int": lambda value: _checked(value, type(value) is int),
    "str": lambda value: _checked(value, type(value) is str),
    "tuple[int, ...]": lambda value: tuple(_checked(value, _are_integers(value))),
    "tuple[int, int]": lambda value: tuple(_checked(value, _are_integers(value) and len(value) == 2)),
}


def write_policy(policy: NumpyPolicy, path: Path) -> None:
    """One file: arrays as safetensors, the description in its metadata. Replaces a file that is there."""
    state, arrays = _described(policy)
    save_bundle(FileSystem(), path, state=state, arrays=arrays)


def write_policy_directory(policy: NumpyPolicy, path: Path) -> None:
    """A directory with arrays.safetensors, state.json and a manifest. Replaces one that is there, nothing else."""
    state, arrays = _described(policy)
    save_archive(FileSystem(), path, state=state, arrays=arrays, meta={"kind": KIND})


def read_policy(path: Path) -> NumpyPolicy:
    """Either of them. Raises CheckpointError for whatever is no sound policy."""
    fs = FileSystem()
    if fs.kind(path) == "directory":
        archive = read_archive(fs, path)
        state, arrays = archive.state, archive.arrays
    else:
        state, arrays = read_bundle(fs, path)
    try:
        return _rebuilt(state, arrays)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise CheckpointError(path, f"holds no policy of this format ({type(error).__name__}: {error})") from error


def _described(policy: NumpyPolicy) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays: dict[str, np.ndarray] = {}
    state = {
        "kind": KIND, "format_version": FORMAT_VERSION, "made_by": VERSION, "origin": policy.origin,
        "observation_shape": list(policy.observation_shape), "frame_stack": policy.frame_stack,
        "layers": [_part(layer, f"layers.{number}", arrays) for number, layer in enumerate(policy.layers)],
        "head": _part(policy.head, "head", arrays), "units": _part(policy.units, "units", arrays),
    }  # fmt: skip
    return state, arrays


def _part(part: Any, name: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The fields of a layer, a head or units; an array is replaced by its name."""
    described: dict[str, Any] = {"part": type(part).__name__}
    for field, value in ((field.name, vars(part)[field.name]) for field in dataclasses.fields(part)):
        if isinstance(value, np.ndarray):
            arrays[f"{name}.{field}"] = value
            value = f"{name}.{field}"
        described[field] = value
    return described


def _rebuilt(state: Any, arrays: dict[str, np.ndarray]) -> NumpyPolicy:
    if state["kind"] != KIND or state["format_version"] != FORMAT_VERSION:
        raise ConfigError(f"it says {str(state['kind'])[:40]!r}, version {str(state['format_version'])[:20]}")
    return NumpyPolicy(
        tuple(_checked(state["observation_shape"], _are_sizes(state["observation_shape"]))),
        tuple(_made(part, layers.Layer, arrays) for part in state["layers"]),
        _made(state["head"], heads.Head, arrays),
        _made(state["units"], heads.ActionUnits, arrays),
        _READERS["str"](state["origin"]),
        _READERS["int"](state.get("frame_stack", 1)),
    )


def _made(described: dict[str, Any], kind: type, arrays: dict[str, np.ndarray]) -> Any:
    """The object of a description, each field of its declared type."""
    part = _PARTS[described["part"]]
    fields = {field.name: str(field.type) for field in dataclasses.fields(part)}
    _checked(described, issubclass(part, kind) and described.keys() == {"part", *fields})
    return part(**{
        name: _READERS[type_](arrays[described[name]] if type_ == "np.ndarray" else described[name])
        for name, type_ in fields.items()
    })  # fmt: skip


def _checked(value: Any, is_right: bool) -> Any:
    if not is_right:
        raise ConfigError(f"cannot be used: {str(value)[:60]}")
    return value


def _are_integers(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(type(number) is int for number in value)


def _are_sizes(value: Any) -> bool:
    return _are_integers(value) and all(0 < size <= layers.MAX_ELEMENTS for size in value)
