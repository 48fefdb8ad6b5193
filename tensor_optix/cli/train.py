"""``tensor-optix train ENV_ID``: train until nothing more is to be gained, and tell what has come of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tensor_optix.cli.config_file import ConfigFile, read_config
from tensor_optix.cli.ending import Ending
from tensor_optix.cli.failures import NOT_CONVERGED, told_in_a_sentence
from tensor_optix.cli.loggers import loggers_for
from tensor_optix.cli.options import (
    SMOKE,
    Algorithm,
    AllowImport,
    AsJson,
    Backend,
    Config,
    Log,
    MaxSteps,
    MaxTime,
    NoReport,
    NoValidation,
    Out,
    Plain,
    Quiet,
    Seed,
    Settings,
    Smoke,
    Target,
    Traceback,
    refuse_import,
    settings_from,
    target_settings,
)
from tensor_optix.cli.running import carried_out
from tensor_optix.cli.screens import Screen, screen_for
from tensor_optix.cli.several import tell_together


def train(
    env_id: Annotated[str, typer.Argument(metavar="ENV_ID", help="A Gymnasium id, for example CartPole-v1.")],
    algo: Algorithm = "auto",
    backend: Backend = "auto",
    seed: Seed = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, help="So many runs one after the other, each with a seed of its own.")
    ] = None,
    max_steps: MaxSteps = None,
    max_time: MaxTime = None,
    target: Target = None,
    smoke: Smoke = False,
    no_validation: NoValidation = False,
    settings: Settings = None,
    config: Config = None,
    init_from: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Start with the best policy of that run.")
    ] = None,
    out: Out = None,
    log: Log = None,
    plain: Plain = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_report: NoReport = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Train on ENV_ID until nothing more is to be gained, and keep the best policy.

    Example: tensor-optix train CartPole-v1 --max-steps 100000 --set learning_rate=0.001

    Exit codes: 0 converged, or the target is reached; 2 the call cannot work; 3 a budget ended first; 4 the
    environment or the agent failed; 130 Ctrl-C and 143 SIGTERM (the best policy is kept, and resume goes on).
    """
    with told_in_a_sentence(with_traceback=traceback):
        new_screen = partial(screen_for, sys.stdout, os.environ, plain=plain, as_json=as_json, quiet=quiet)
        screen = new_screen()
        refuse_import(env_id, allowed=allow_import)
        file = read_config(config)
        file.require_env(env_id)
        chosen = _chosen(file, algo, backend)
        root = seed if seed is not None else file.run.get("seed")
        wanted = {
            **({"val_episodes": 0} if no_validation else {}), **(SMOKE if smoke else {}), **file.settings,
            **target_settings(target), **settings_from(settings or []),
        }  # fmt: skip
        trackers = loggers_for(log or [])
        from tensor_optix import quick

        options: dict[str, Any] = {
            **chosen, "settings": wanted, "out": out, "init_from": init_from, "max_steps": max_steps,
            "max_time": max_time,
        }  # fmt: skip

        def one(seed: int | None, screen: Screen) -> Ending:
            return carried_out(
                lambda: quick.prepare(env_id, seed=seed, reporters=[screen], callbacks=trackers(), **options),
                screen,
                hint="any of it by --set name=value, or --config run.toml (init writes one)",
                has_report=not no_report,
                resume_options=["--allow-import"] if allow_import else [],
            )

        if seeds is None:
            raise typer.Exit(_exit_code([one(root, screen)], is_smoke=smoke))
        endings: list[Ending] = [one(each, new_screen()) for each in quick.experiment_seeds(root, seeds)]
        tell_together(endings, as_json=as_json, has_report=not no_report)
        raise typer.Exit(_exit_code(endings, is_smoke=smoke))


def _exit_code(endings: Sequence[Ending], *, is_smoke: bool) -> int:
    """The worst of them; a smoke run has done what it should when its budget is spent."""
    worst = max(ending.exit_code for ending in endings)
    return 0 if is_smoke and worst == NOT_CONVERGED else worst


def _chosen(file: ConfigFile, algo: str, backend: str) -> dict[str, str]:
    """The command line's word, where it says more than "auto", else the file's."""
    return {
        "algorithm": algo if algo != "auto" else file.run.get("algo", "auto"),
        "backend": backend if backend != "auto" else file.run.get("backend", "auto"),
    }
