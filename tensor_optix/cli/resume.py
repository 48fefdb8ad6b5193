"""``tensor-optix resume RUN``: go on with a run that was interrupted, killed, or ended by its budget."""

from __future__ import annotations

import os
import sys

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
    RunPath,
    Traceback,
    limit_options,
)
from tensor_optix.cli.running import run_and_tell
from tensor_optix.cli.runs import run_at
from tensor_optix.cli.screens import screen_for


def resume(
    run: RunPath,
    max_steps: MaxSteps = None,
    max_time: MaxTime = None,
    plain: Plain = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_report: NoReport = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Go on with RUN exactly where its last commit was: it ends as if it had never been interrupted.

    The limits of its budget stay as they were; a larger --max-steps or --max-time lets a run go on that they ended.

    Example: tensor-optix resume runs/CartPole-v1 --max-steps 200000

    Exit codes are those of train.
    """
    with told_in_a_sentence(with_traceback=traceback):
        screen = screen_for(sys.stdout, os.environ, plain=plain, as_json=as_json, quiet=quiet)
        run_dir = run_at(run, allow_import=allow_import)
        options = limit_options(max_steps, max_time) + (["--allow-import"] if allow_import else [])
        from tensor_optix import quick

        code = run_and_tell(
            lambda: quick.resume(
                run_dir, max_steps=max_steps, max_time=max_time, reporters=[screen], allow_import=allow_import
            ),
            screen,
            has_report=not no_report,
            resume_options=options,
            has_films=False,  # the first policy acted long ago
        )
        raise typer.Exit(code)
