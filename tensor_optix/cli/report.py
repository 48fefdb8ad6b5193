"""``tensor-optix report RUN...``: write reports anew, and set several runs side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tensor_optix.callbacks.comparison import Group
from tensor_optix.callbacks.report import write_report
from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.list import found_runs
from tensor_optix.cli.options import AsJson, Traceback
from tensor_optix.cli.running import reproduction
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.table import table_lines
from tensor_optix.cli.text import write_line
from tensor_optix.errors import ConfigError
from tensor_optix.storage import RunDirectory

COLUMNS = ("environment", "algorithm", "runs", "IQM", "95 %", "env steps")


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or directories of runs.")],
    no_report: Annotated[bool, typer.Option("--no-html", help="Write no report.html, only compare.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of the comparison. Default: comparison.html above the first.")
    ] = None,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Write report.html of every RUN anew; of several, set them side by side in comparison.html.

    Example: tensor-optix report runs/CartPole-v1

    The interquartile mean is over the runs' final scores (in training, where there is none on fresh seeds).

    Exit codes: 0 done; 2 the call cannot work.
    """
    with told_in_a_sentence(with_traceback=traceback):
        directories = [run for path in runs for run in found_runs(path)]
        for directory in [] if no_report else directories:
            written = write_report(directory.path, command=_command(directory))
            if not as_json:
                write_line(sys.stdout, f"report   {shown(written)}")
        from tensor_optix.quick.comparison import compare_runs, groups_of

        paths = [directory.path for directory in directories]
        groups = [_row(group) for group in groups_of(paths)]
        if as_json:
            for row in groups:
                write_line(sys.stdout, json_line({"type": "group", **row}))
        elif len(directories) > 1:
            for line in table_lines(COLUMNS, [_cells(row) for row in groups]):
                write_line(sys.stdout, line)
        if len(paths) > 1 and groups and not no_report:
            page = compare_runs(paths, out)
            if not as_json:
                write_line(sys.stdout, f"together {shown(page)}")


def _command(run: RunDirectory) -> str | None:
    """How to do the run again, where it was made from an environment id."""
    try:
        return reproduction(run.identity)
    except (ConfigError, LookupError, TypeError):  # it is a file: it may say anything
        return None


def _row(group: Group) -> dict[str, Any]:
    steps = sorted(run.summary.get("env_steps") or 0 for run in group.runs)
    return {
        "environment": group.environment, "algorithm": group.name, "runs": len(group.runs), "iqm": group.iqm,
        "low": group.low, "high": group.high, "median_env_steps": steps[len(steps) // 2], "scores": group.scores,
    }  # fmt: skip


def _cells(row: dict[str, Any]) -> list[str]:
    interval = f"{row['low']:.1f} to {row['high']:.1f}"
    return [row["environment"], row["algorithm"], str(row["runs"]), f"{row['iqm']:.1f}", interval,
            f"{row['median_env_steps']:,}"]  # fmt: skip
