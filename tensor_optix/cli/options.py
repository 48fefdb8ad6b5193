"""Options that several verbs share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tensor_optix.errors import ConfigError

RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's directory, or the directory above it: its newest run then.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Root of all randomness. Default: drawn, and told.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object a line, and nothing else.")]
MaxSteps = Annotated[int | None, typer.Option(min=1, help="Stop after so many environment steps in all.")]
MaxTime = Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds in all.")]
Plain = Annotated[bool, typer.Option("--plain", help="A line per evaluation instead of the live panel.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="One line at the end, and nothing else.")]
NoReport = Annotated[bool, typer.Option("--no-report", help="Write no report.html.")]
Target = Annotated[
    str | None,
    typer.Option(metavar="SCORE", help="End as soon as this is reached: a score, or METRIC=VALUE (success_rate=0.9)."),
]
Smoke = Annotated[bool, typer.Option("--smoke", help="Only see that everything works: some 1,500 steps, exit code 0.")]
NoValidation = Annotated[
    bool, typer.Option("--no-validation", help="Choose policies by their training score; no held-out episodes.")
]
Log = Annotated[
    list[str] | None, typer.Option("--log", metavar="TRACKER", help="Also log to tensorboard, wandb or mlflow.")
]
Algorithm = Annotated[str, typer.Option("--algo", help="auto, ppo, dqn or sac. auto: by the actions.")]
Backend = Annotated[str, typer.Option(help="auto, torch, jax or tf. auto: the first one that is installed.")]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A run.toml with settings, as init writes it; --set wins over it.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter or a loop setting.")
]
Out = Annotated[Path | None, typer.Option(help="Put the run's directory here. Default: runs/ENV_ID.")]
Episodes = Annotated[int, typer.Option(min=1, help="Complete env episodes, each on a seed of its own.")]
AllowImport = Annotated[
    bool, typer.Option("--allow-import", help="Let an environment id of the form module:Name import its module.")
]
Traceback = Annotated[
    bool, typer.Option("--traceback", envvar="TENSOR_OPTIX_TRACEBACK", help="Show where in the code an error arose.")
]


def settings_from(pairs: Sequence[str]) -> dict[str, str]:
    """``["name=value", ...]`` as a dict; of two equal names the last one counts. Raises ConfigError without "="."""
    settings = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise ConfigError(f"--set takes name=value (for example learning_rate=0.001), got {pair!r}")
        settings[name.strip()] = value.strip()
    return settings


SMOKE = {"max_steps": 1_500, "evaluation_episodes": 1, "val_episodes": 1}
"""Settings of a run that only shows that everything works together."""


def target_settings(target: str | None) -> dict[str, Any]:
    """``475`` or ``success_rate=0.9`` as settings of the loop. Raises ConfigError."""
    if target is None:
        return {}
    metric, separator, value = target.rpartition("=")
    try:
        score = float(value)
    except ValueError:
        raise ConfigError(f"--target takes a score or METRIC=VALUE (success_rate=0.9), got {target!r}") from None
    named = {"target_metric": metric.strip()} if separator else {}
    return {"target_score": score, "stop_at_target": True, **named}


def limit_options(max_steps: int | None, max_time: float | None) -> list[str]:
    """The two as they are typed; what was not given is left out."""
    steps = [] if max_steps is None else ["--max-steps", str(max_steps)]
    return steps if max_time is None else [*steps, "--max-time", f"{max_time:g}"]


def refuse_import(env_id: str, *, allowed: bool) -> None:
    """Raise ConfigError for an id that would import a module, unless the user allowed that."""
    module, separator, _ = env_id.partition(":")
    if separator and not allowed:
        raise ConfigError(f"{env_id!r} would run the Python module {module!r}; add --allow-import if you trust it")
