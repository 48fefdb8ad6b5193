"""``tensor-optix dashboard RUN``: look at a run's curves, or at a search, in a browser on this machine."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tensor_optix.cli.failures import say, told_in_a_sentence
from tensor_optix.cli.options import Traceback
from tensor_optix.errors import CheckpointError, MissingDependency
from tensor_optix.storage import FileSystem

LOOPBACK = "127.0.0.1"
"""Both dashboards show everything to whoever can reach them: nobody but this machine can."""
STUDY, CURVES = "study.db", "tensorboard"
MAX_DEPTH = 4


def dashboard(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run, a search, or a directory above them.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1, out of reach for others.")] = 6006,
    traceback: Traceback = False,
) -> None:
    """Show RUN with TensorBoard, or its search with Optuna's dashboard, until Ctrl-C. Nothing is opened unasked.

    Example: tensor-optix dashboard runs/CartPole-v1

    Exit codes: 2 the call cannot work; otherwise the dashboard's own.
    """
    with told_in_a_sentence(with_traceback=traceback):
        command = dashboard_command(run.resolve(), port)
        say(f"http://{LOOPBACK}:{port} shows it; Ctrl-C ends it")
        os.execv(command[0], command)  # from here on this process is the dashboard, and Ctrl-C is its own


def dashboard_command(path: Path, port: int) -> list[str]:
    """The program that can show what is at ``path``. Raises CheckpointError and MissingDependency."""
    fs = FileSystem()
    if fs.kind(path) != "directory":
        raise CheckpointError(path, "is no directory of runs")
    if (study := _found(fs, path, STUDY, MAX_DEPTH)) is not None:
        _require("optuna_dashboard", "Optuna's dashboard", "pip install optuna-dashboard")
        start = "from optuna_dashboard._cli import main; main()"
        return [sys.executable, "-c", start, f"sqlite:///{study}", "--host", LOOPBACK, "--port", str(port)]
    if _found(fs, path, CURVES, MAX_DEPTH) is not None:
        _require("tensorboard", "TensorBoard", "pip install tensorboard")
        program = [sys.executable, "-m", "tensorboard.main", "--logdir", str(path)]
        return [*program, "--host", LOOPBACK, "--port", str(port)]
    raise CheckpointError(
        path, "holds neither TensorBoard files (train with --log tensorboard) nor a search (tensor-optix search); "
              "report.html in each run shows its curves without any of them")  # fmt: skip


def _require(module: str, name: str, remedy: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise MissingDependency(f"{name} is not installed: {remedy}")


def _found(fs: FileSystem, path: Path, name: str, depth: int) -> Path | None:
    """``path``/.../``name``, at most ``depth`` levels below; links are not followed."""
    if fs.kind(path / name) in ("file", "directory"):
        return path / name
    if depth == 0:
        return None
    below = (path / each for each in fs.names(path) if fs.kind(path / each) == "directory")
    return next((found for each in below if (found := _found(fs, each, name, depth - 1)) is not None), None)
