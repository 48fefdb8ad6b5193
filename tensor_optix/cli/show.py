"""``tensor-optix show RUN``: what a run was made of, how it ended, and its decisions."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.options import AsJson, RunPath, Traceback
from tensor_optix.cli.records import record_of
from tensor_optix.cli.runs import run_to_read
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.text import duration, printable, score_text, stopwatch, value_text, write_line


def show(
    run: RunPath,
    events: Annotated[int, typer.Option(min=0, help="So many of its last decisions.")] = 10,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Show RUN: its plan and hyperparameters, how it ended, and its last decisions.

    Example: tensor-optix show runs/CartPole-v1

    Exit codes: 0 done; 2 the call cannot work.
    """
    with told_in_a_sentence(with_traceback=traceback):
        directory = run_to_read(run)
        record, decisions = record_of(directory), directory.read_events()
        if as_json:
            row = {"type": "run", **record, "identity": directory.identity, "summary": directory.summary}
            write_line(sys.stdout, json_line({**row, "events": decisions[-events:] if events else []}))
            return
        for line in (*_head(record), *_parameters(directory.identity), *_decisions(decisions, events)):
            write_line(sys.stdout, line)


def _head(record: dict[str, Any]) -> list[str]:
    parts = [record["algorithm"], record["backend"], f"seed {record['seed']}"]
    final, low, high = (score_text(record[name]) for name in ("final", "low", "high"))
    fresh = f", {final} [95 %: {low} to {high}] on fresh seeds" if record["final"] is not None else ""
    cost = f"{record['env_steps'] or 0:,} env steps, {duration(record['seconds'] or 0.0)}"
    return [
        f"run      {printable(record['run_dir'])}",
        f"of       {printable(record['environment'])}   {printable(', '.join(filter(None, parts)))}",
        f"ended    {printable(record['ended'])}; {cost}",
        f"best     {score_text(record['best'])} in training{fresh}",
    ]


def _parameters(identity: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("hyperparams", "settings"):
        values = identity.get(name)
        if isinstance(values, dict):
            told = (f"{printable(key)}={value_text(value)}" for key, value in values.items() if value is not None)
            lines.append(f"{name:<12} {'  '.join(told)}")
    return lines


def _decisions(events: list[dict[str, Any]], n: int) -> list[str]:
    return [
        f"{stopwatch(float(event.get('seconds') or 0.0))}  {printable(event.get('kind', '')):<10} "
        f"{printable(event.get('text', ''))}"
        for event in (events[-n:] if n else [])
    ]
