"""How are the networks of a built-in agent kept in a directory, and read back?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.backends.base import NetworkState
from tensor_optix.core.state import join_state, split_state
from tensor_optix.errors import CheckpointError
from tensor_optix.storage.archive import read_archive, save_archive
from tensor_optix.storage.file_system import FileSystem


def write_weights(path: str, tree: Mapping[str, Any]) -> None:
    """Write ``{"networks": ..., ...}`` to the directory ``path``."""
    state, arrays = split_state(dict(tree))
    save_archive(FileSystem(), Path(path), state=state, arrays=arrays, meta={"kind": "weights"})


def read_weights(path: str) -> dict[str, Any]:
    """``{"networks": NetworkState, "normalizers": ...}`` as ``write_weights`` wrote it, or from a snapshot.

    Raises CheckpointError for whatever is neither.
    """
    archive = read_archive(FileSystem(), Path(path))
    try:
        tree = join_state(archive.state, archive.arrays)
        networks: NetworkState = {name: dict(parameters) for name, parameters in tree["networks"].items()}
        normalizers = dict(tree.get("normalizers", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(path, "holds no weights of networks") from error
    if not all(isinstance(array, np.ndarray) for parameters in networks.values() for array in parameters.values()):
        raise CheckpointError(path, "holds something other than arrays where weights should be")
    return {"networks": networks, "normalizers": normalizers}
