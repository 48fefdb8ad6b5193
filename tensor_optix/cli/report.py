"""``tensor-optix report RUN...``: write reports anew, and set several runs side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tensor_optix.callbacks.report import write_report
from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.invocation import shown
from tensor_optix.cli.list import found_runs
from tensor_optix.cli.options import AsJson, Traceback
from tensor_optix.cli.records import record_of
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
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Write report.html of every RUN anew; of several, say what each environment and algorithm reached.

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
        groups = _groups([record_of(directory) for directory in directories])
        if as_json:
            for row in groups:
                write_line(sys.stdout, json_line({"type": "group", **row}))
        elif len(directories) > 1:
            for line in table_lines(COLUMNS, [_cells(row) for row in groups]):
                write_line(sys.stdout, line)


def _command(run: RunDirectory) -> str | None:
    """How to do the run again, where it was made from an environment id."""
    try:
        return reproduction(run.identity)
    except (ConfigError, LookupError, TypeError):  # it is a file: it may say anything
        return None


def _groups(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per environment and algorithm, over its runs that have a score."""
    from tensor_optix import quick

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        if _score(record) is not None:
            found.setdefault((record["environment"], record["algorithm"] or "-"), []).append(record)
    rows = []
    for (environment, algorithm), members in found.items():
        summary = quick.Summary.of([_score(member) or 0.0 for member in members])
        steps = sorted(member["env_steps"] or 0 for member in members)[len(members) // 2]
        rows.append({
            "environment": environment, "algorithm": algorithm, "runs": len(members), "iqm": summary.iqm,
            "low": summary.low, "high": summary.high, "median_env_steps": steps, "scores": summary.scores,
        })  # fmt: skip
    return rows


def _score(record: dict[str, Any]) -> float | None:
    score = record["final"] if record["final"] is not None else record["best"]
    return None if score is None else float(score)


def _cells(row: dict[str, Any]) -> list[str]:
    interval = f"{row['low']:.1f} to {row['high']:.1f}"
    return [row["environment"], row["algorithm"], str(row["runs"]), f"{row['iqm']:.1f}", interval,
            f"{row['median_env_steps']:,}"]  # fmt: skip
