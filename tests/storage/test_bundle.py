"""Arrays and JSON in one file: what any safetensors reader can open and only a whole, untouched file passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as safetensors_load

from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem
from tensor_optix.storage.bundle import read_bundle, save_bundle

STATE = {"layers": [1, 2.5, "three"], "none": None, "nan": float("nan")}
ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1.5]), "c": np.empty((0, 2))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "new" / "bundle"
    save_bundle(FileSystem(), file, state=STATE, arrays=ARRAYS)
    return file


def with_header(path: Path, change: Any) -> None:
    """Write the file again with its header changed as JSON."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    text = json.dumps(change(json.loads(data[8:end])), separators=(",", ":")).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def test_state_and_arrays_come_back_as_they_were(path):
    state, arrays = read_bundle(FileSystem(), path)
    assert json.dumps(state) == json.dumps(STATE)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)


def test_any_safetensors_reader_can_open_it(path):
    theirs = safetensors_load(path.read_bytes())
    assert all(np.array_equal(theirs[name], array) for name, array in ARRAYS.items())


def test_it_takes_the_place_of_an_older_one(path):
    save_bundle(FileSystem(), path, state={}, arrays={})
    assert read_bundle(FileSystem(), path) == ({}, {})
    assert [file.name for file in path.parent.iterdir()] == ["bundle"]


def test_every_flipped_byte_is_noticed(path):
    sound = path.read_bytes()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(CheckpointError):
            read_bundle(FileSystem(), path)


def test_every_cut_is_noticed(path):
    sound = path.read_bytes()
    for size in range(len(sound)):
        path.write_bytes(sound[:size])
        with pytest.raises(CheckpointError):
            read_bundle(FileSystem(), path)


@pytest.mark.parametrize(
    "change",
    [
        lambda header: [],
        lambda header: {**header, "__metadata__": None},
        lambda header: {**header, "__metadata__": {**header["__metadata__"], "more": ""}},
        lambda header: {**header, "b": [1]},
        lambda header: {**header, "b": {**header["b"], "dtype": "PICKLE"}},
        lambda header: {**header, "b": {**header["b"], "shape": [-1]}},
        lambda header: {**header, "b": {**header["b"], "shape": [1 << 40]}},
        lambda header: {**header, "b": {**header["b"], "shape": [1 << 28]}},
        lambda header: {**header, "../b": header["b"]},
        lambda header: dict(reversed(header.items())),
    ],
)
def test_a_header_that_says_anything_else_is_refused(path, change):
    with_header(path, change)
    with pytest.raises(CheckpointError):
        read_bundle(FileSystem(), path)


def test_what_is_no_such_file_is_refused_by_its_path(tmp_path):
    for content in (b"", b"hello", b"\xff" * 100, (1 << 20).to_bytes(8, "little") + b"{}"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CheckpointError, match="file"):
            read_bundle(FileSystem(), tmp_path / "file")
