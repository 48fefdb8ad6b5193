"""``tensor-optix list [DIR]``: the runs below a directory, the newest first."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.options import AsJson, Traceback
from tensor_optix.cli.records import record_of
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.table import table_lines
from tensor_optix.cli.text import write_line
from tensor_optix.storage import FileSystem, RunDirectory, runs_below

COLUMNS = ("environment", "algorithm", "ended", "best", "final", "env_steps", "run")


def list_runs(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A directory of runs, or one whose subdirectories hold runs.")
    ] = Path("runs"),
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """List the runs in DIR and in its subdirectories.

    Example: tensor-optix list runs

    Exit codes: 0 done; 2 the call cannot work.
    """
    with told_in_a_sentence(with_traceback=traceback):
        rows = [record_of(run) for run in found_runs(directory)]
        if as_json:
            for row in rows:
                write_line(sys.stdout, json_line({"type": "run", **row}))
            return
        if not rows:
            write_line(sys.stdout, f"no runs in {directory}")
            return
        for line in table_lines(COLUMNS, [_cells(row) for row in rows]):
            write_line(sys.stdout, line)


def found_runs(directory: Path) -> Iterator[RunDirectory]:
    """The run itself, or all runs directly or one level below. Raises CheckpointError where there is no directory."""
    fs, path = FileSystem(), directory.resolve()
    if fs.kind(path) != "directory" or fs.kind(path / "run.json") == "file":
        yield RunDirectory.open(fs, path)
        return
    for parent in (path, *(path / name for name in fs.names(path) if fs.kind(path / name) == "directory")):
        for run in runs_below(fs, parent):
            yield RunDirectory.open(fs, run)


def _cells(row: dict[str, Any]) -> list[str]:
    def number(value: Any, form: str) -> str:
        return format(value, form) if isinstance(value, int | float) else "-"

    return [
        row["environment"], row["algorithm"] or "-", row["ended"], number(row["best"], ".1f"),
        number(row["final"], ".1f"), number(row["env_steps"], ","), shown(Path(row["run_dir"])),
    ]  # fmt: skip
