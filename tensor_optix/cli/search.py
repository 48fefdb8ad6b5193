"""``tensor-optix search ENV_ID``: find hyperparameters by many short runs, then train with the best ones."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from tensor_optix.cli.failures import say, told_in_a_sentence
from tensor_optix.cli.options import (
    Algorithm,
    AllowImport,
    AsJson,
    Backend,
    MaxSteps,
    MaxTime,
    NoReport,
    Out,
    Plain,
    Quiet,
    Seed,
    Settings,
    Traceback,
    refuse_import,
    settings_from,
)
from tensor_optix.cli.running import run_and_tell
from tensor_optix.cli.screens import json_line, screen_for
from tensor_optix.cli.text import score_text, value_text, write_line
from tensor_optix.search.study import TrialNews


def search(
    env_id: Annotated[str, typer.Argument(metavar="ENV_ID", help="A Gymnasium id, for example CartPole-v1.")],
    trials: Annotated[int, typer.Option(min=1, help="Finished trials, those of an earlier call included.")] = 20,
    trial_steps: Annotated[int, typer.Option(min=1, help="Environment steps of each trial.")] = 50_000,
    jobs: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Of the Optuna study. Default: SQLite below --out.")
    ] = None,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Start the long run with the best trial's best policy.")
    ] = False,
    no_final: Annotated[bool, typer.Option("--no-final", help="Only search; no long run with the winner.")] = False,
    algo: Algorithm = "auto",
    backend: Backend = "auto",
    seed: Seed = None,
    max_steps: MaxSteps = None,
    max_time: MaxTime = None,
    settings: Settings = None,
    out: Out = None,
    plain: Plain = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_report: NoReport = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Search hyperparameters on ENV_ID over short runs, then train with the best until nothing more is to be gained.

    Example: tensor-optix search CartPole-v1 --trials 20 --trial-steps 20000

    The limits (--max-steps, --max-time) are those of the long run. The same call again goes on with the search.

    Exit codes are those of train.
    """
    with told_in_a_sentence(with_traceback=traceback):
        screen = screen_for(sys.stdout, os.environ, plain=plain, as_json=as_json, quiet=quiet)
        refuse_import(env_id, allowed=allow_import)
        from tensor_optix import quick
        from tensor_optix.quick.searching import search as search_for

        limits: dict[str, Any] = {
            name: value for name, value in (("max_steps", max_steps), ("max_time", max_time)) if value
        }
        with redirect_stdout(sys.stderr):
            plan = quick.plan(env_id, algo, backend, seed=seed, out=out, **settings_from(settings or []), **limits)
            say(f"searching: {trials} trials of {trial_steps:,} env steps on {env_id}, in {plan.out}/search")
            found = search_for(
                plan, trials=trials, trial_steps=trial_steps, jobs=jobs, storage=storage, warm_start=warm_start,
                on_trial=None if quiet else told,
            )  # fmt: skip
        if as_json:
            row = {"type": "search", "score": found.score, "hyperparams": found.hyperparams, "trials": trials}
            write_line(sys.stdout, json_line(row))
        elif not quiet:
            values = "  ".join(f"{name}={value_text(value)}" for name, value in found.hyperparams.items())
            write_line(sys.stdout, f"found    {score_text(found.score)} with {values}")
        if no_final:
            return
        code = run_and_tell(
            lambda: found.plan.build(reporters=[screen]), screen, hint="the values are the best of the search",
            has_report=not no_report, resume_options=["--allow-import"] if allow_import else [],
        )  # fmt: skip
        raise typer.Exit(code)


def told(news: TrialNews) -> None:
    """Say how a trial has ended (on stderr, from whichever process has run it)."""
    score = "no score" if news.score is None else score_text(news.score)
    best = "" if news.best_score is None else f", best {score_text(news.best_score)}"
    values = "  ".join(f"{name}={value_text(value)}" for name, value in news.params.items())
    ended = "" if news.state == "complete" else f" ({'pruned' if news.state == 'pruned' else 'failed'})"
    say(f"trial {news.number + 1:<3d} {score}{ended} with {values}   [{news.n_finished} of {news.n_trials}{best}]")
