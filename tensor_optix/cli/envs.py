"""``tensor-optix envs [PATTERN]``: which environments can be trained on here?"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.options import AsJson, Traceback
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.table import table_lines
from tensor_optix.cli.text import write_line

COLUMNS = ("environment", "step limit", "solved at", "missing")


def envs(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="A part of the id, in any case.")] = "",
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """List the registered environments whose id contains PATTERN, and what is missing to run them.

    Example: tensor-optix envs lander

    Exit codes: 0 done; 2 no id contains PATTERN.
    """
    with told_in_a_sentence(with_traceback=traceback):
        from tensor_optix.errors import ConfigError
        from tensor_optix.quick.catalogue import catalogue

        entries = catalogue(pattern)
        if not entries:
            raise ConfigError(f"no registered environment has {pattern!r} in its id")
        if as_json:
            for entry in entries:
                write_line(sys.stdout, json_line({"type": "environment", **asdict(entry)}))
            return
        rows = [[entry.env_id, _number(entry.max_episode_steps), _number(entry.reward_threshold), entry.missing or ""]
                for entry in entries]  # fmt: skip
        for line in table_lines(COLUMNS, rows):
            write_line(sys.stdout, line)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,g}"
