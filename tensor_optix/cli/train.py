"""``tensor-optix train ENV_ID``: train until nothing more is to be gained, and tell what has come of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.options import (
    AllowImport,
    AsJson,
    MaxSteps,
    MaxTime,
    NoReport,
    Plain,
    Quiet,
    Seed,
    Traceback,
    refuse_import,
    settings_from,
)
from tensor_optix.cli.running import run_and_tell
from tensor_optix.cli.screens import screen_for


def train(
    env_id: Annotated[str, typer.Argument(metavar="ENV_ID", help="A Gymnasium id, for example CartPole-v1.")],
    seed: Seed = None,
    max_steps: MaxSteps = None,
    max_time: MaxTime = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter or a loop setting.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Put the run's directory here. Default: runs/ENV_ID.")] = None,
    plain: Plain = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_report: NoReport = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Train on ENV_ID until nothing more is to be gained, and keep the best policy.

    Exit codes: 0 converged; 2 the call cannot work; 3 a budget ended first; 4 the environment or the agent failed;
    130 Ctrl-C and 143 SIGTERM (the best policy is kept, and resume goes on).
    """
    with told_in_a_sentence(with_traceback=traceback):
        screen = screen_for(sys.stdout, os.environ, plain=plain, as_json=as_json, quiet=quiet)
        refuse_import(env_id, allowed=allow_import)
        wanted = settings_from(settings or [])
        from tensor_optix import quick

        code = run_and_tell(
            lambda: quick.prepare(
                env_id, seed=seed, settings=wanted, out=out, max_steps=max_steps, max_time=max_time, reporters=[screen]
            ),
            screen,
            hint="change any of it: --set name=value",
            has_report=not no_report,
            resume_options=["--allow-import"] if allow_import else [],
        )
        raise typer.Exit(code)
