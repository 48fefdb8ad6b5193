"""Which run does a path mean, and which environment does that run name?"""

from __future__ import annotations

from pathlib import Path

from tensor_optix.cli.failures import say
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.options import refuse_import
from tensor_optix.storage import FileSystem, RunDirectory, latest_run


def run_at(path: Path, *, allow_import: bool) -> Path:
    """``path`` itself if it is a run, else the newest run below it, which is said.

    Raises CheckpointError where there is none, ConfigError when its environment would import a module unasked.
    """
    run_dir = _newest_at(path.resolve())
    if run_dir != path.resolve():
        say(f"{shown(run_dir)} is the newest run in {path}")
    refuse_import(_env_id(run_dir), allowed=allow_import)
    return run_dir


def run_to_read(path: Path) -> RunDirectory:
    """As ``run_at``, for who reads its files only: nothing is imported. Raises CheckpointError."""
    run_dir = _newest_at(path.resolve())
    if run_dir != path.resolve():
        say(f"{shown(run_dir)} is the newest run in {path}")
    return RunDirectory.open(FileSystem(), run_dir)


def _newest_at(path: Path) -> Path:
    """Where there is no run, ``path`` again: opening it says what is wrong."""
    fs = FileSystem()
    is_run = fs.kind(path / "run.json") == "file"
    return path if is_run else latest_run(fs, path) or path


def _env_id(run_dir: Path) -> str:
    """The environment that run.json names. It is a file: what it says is not run unasked."""
    details = RunDirectory.open(FileSystem(), run_dir).identity.get("details")
    return str(details.get("env_id", "")) if isinstance(details, dict) else ""
