"""``tensor-optix init ENV_ID``: the plan as files to edit, run.toml and train.py."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.invocation import command_line, shown
from tensor_optix.cli.options import (
    Algorithm,
    AllowImport,
    Backend,
    Seed,
    Settings,
    Traceback,
    refuse_import,
    settings_from,
)
from tensor_optix.cli.text import write_line
from tensor_optix.errors import ConfigError
from tensor_optix.storage import FileSystem

CONFIG, SCRIPT = "run.toml", "train.py"


def init(
    env_id: Annotated[str, typer.Argument(metavar="ENV_ID", help="A Gymnasium id, for example CartPole-v1.")],
    directory: Annotated[Path, typer.Option("--dir", help="Where to write; made where it is missing.")] = Path(),
    algo: Algorithm = "auto",
    backend: Backend = "auto",
    seed: Seed = None,
    settings: Settings = None,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Write the plan for ENV_ID as run.toml (for --config) and as train.py (the same run in Python).

    Example: tensor-optix init CartPole-v1 --dir cartpole

    Files that are there are not overwritten. Exit codes: 0 done; 2 the call cannot work.
    """
    with told_in_a_sentence(with_traceback=traceback):
        refuse_import(env_id, allowed=allow_import)
        from tensor_optix import quick
        from tensor_optix.quick.code import as_python, as_toml

        with redirect_stdout(sys.stderr):
            plan = quick.plan(env_id, algo, backend, seed=seed, **settings_from(settings or []))
        fs, target = FileSystem(), directory.resolve()
        texts = {target / CONFIG: as_toml(plan), target / SCRIPT: as_python(plan)}
        for path in texts:
            if fs.kind(path) != "absent":
                raise ConfigError(f"{shown(path)} is there already: move it away, or choose another --dir")
        fs.ensure_directory(target)
        for path, text in texts.items():
            fs.write_new(path, text.encode())
            write_line(sys.stdout, f"written  {shown(path)}")
        write_line(sys.stdout, f"next     {command_line('train', env_id, '--config', shown(target / CONFIG))}")
