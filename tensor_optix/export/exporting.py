"""export_policy: from a trained agent, or a run, to a file that acts without the framework it was trained in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.errors import ConfigError, nearest
from tensor_optix.export.numpy_policy import NumpyPolicy
from tensor_optix.export.policy_files import write_policy, write_policy_directory
from tensor_optix.export.recognise import HasSpaces, policy_of
from tensor_optix.storage import FileSystem


class LoadedRun(Protocol):
    """A run whose agent holds the policy to export, as ``load`` gives it."""

    @property
    def agent(self) -> BaseAgent: ...
    @property
    def pipeline(self) -> HasSpaces: ...
    @property
    def frame_stack(self) -> int: ...


def export_policy(
    source: BaseAgent | LoadedRun | str | Path,
    path: str | Path,
    *,
    format: str = "numpy",
    env: HasSpaces | None = None,
) -> Path:
    """Write a policy and its preprocessing to ``path``; returns that path.

    source: an agent, a loaded run, or a run's directory (its best policy).
    format: "numpy" is one file for ``NumpyPolicy.load``; "safetensors" a directory with safetensors and JSON, which
    it loads as well; "onnx" a model for any ONNX runtime: "observation" in, "action" out.
    env: an environment or pipeline, for the bounds (or the first number) of its actions; a run knows its own. Without
    one actions stay in the agent's units: indices from 0, or numbers in (-1, 1).
    A run's frame stack is written too: ``NumpyPolicy.player()`` then takes the environment's own observations.

    What is written has been compared with the agent on random observations. Raises ConfigError for an agent or a
    network that has no such description, MissingDependency for "onnx" without onnx.
    """
    if format not in _WRITERS:
        raise ConfigError(f"format must be one of {', '.join(_WRITERS)}, got {format!r}.{nearest(format, _WRITERS)}")
    target = Path(path)
    _WRITERS[format](policy_from(source, env), target)
    return target


def policy_from(source: BaseAgent | LoadedRun | str | Path, env: HasSpaces | None = None) -> NumpyPolicy:
    """The policy of an agent, a loaded run or a run's directory, in memory."""
    if isinstance(source, BaseAgent):
        return policy_of(source, env)
    if isinstance(source, str | Path):
        from tensor_optix.quick import load

        source = load(source)
    policy = policy_of(source.agent, source.pipeline if env is None else env)
    return replace(policy, frame_stack=source.frame_stack)


def _write_onnx(policy: NumpyPolicy, path: Path) -> None:
    from tensor_optix.export.onnx_graph import onnx_bytes

    fs = FileSystem()
    fs.ensure_directory(path.absolute().parent)
    fs.replace(path.absolute(), onnx_bytes(policy))


_WRITERS: dict[str, Callable[[NumpyPolicy, Path], None]] = {
    "numpy": write_policy,
    "safetensors": write_policy_directory,
    "onnx": _write_onnx,
}
