"""``tensor-optix doctor``: what is here, what is missing, and the line that installs it."""

from __future__ import annotations

import os
import platform
import secrets
import sys
import time
from contextlib import redirect_stdout
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from tensor_optix._about import VERSION, install_hint
from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.options import AsJson, Traceback
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.table import table_lines
from tensor_optix.cli.text import write_line
from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem

LIBRARIES = {
    "numpy": ("numpy", None), "gymnasium": ("gymnasium", None), "torch": ("torch", "torch"),
    "tensorflow": ("tensorflow", "tf"), "jax": ("jax", "jax"), "flax": ("flax", "jax"), "optax": ("optax", "jax"),
    "matplotlib": ("matplotlib", "report"), "optuna": ("optuna", "search"), "pygame-ce": ("pygame", "classic"),
    "Box2D": ("Box2D", "box2d"), "mujoco": ("mujoco", "mujoco"), "ale-py": ("ale_py", "atari"),
}  # fmt: skip
"""Distribution -> (module, the extra that brings it; None: the package cannot be without it)."""
VARIABLES = ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "MUJOCO_GL", "SDL_VIDEODRIVER", "DISPLAY", "NO_COLOR", "CI")
SPEED_SECONDS = 0.5


def doctor(
    devices: Annotated[
        bool, typer.Option("--devices", help="Ask the frameworks for accelerators; imports them, which takes seconds.")
    ] = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Say what is installed, what is missing and how to install it, and whether runs can be written here.

    Example: tensor-optix doctor --json

    Exit codes: 0 something can be trained; 2 no framework is installed, or nothing can be written here.
    """
    with told_in_a_sentence(with_traceback=traceback):
        from tensor_optix.quick.backends import accelerators, installed_backends

        backends, trouble = installed_backends(), write_trouble(Path.cwd())
        with redirect_stdout(sys.stderr):
            row = {
                "type": "doctor", "tensor_optix": VERSION, "python": platform.python_version(),
                "system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count(),
                "libraries": {name: version_of(name, module) for name, (module, _) in LIBRARIES.items()},
                "backends": backends, "accelerators": accelerators() if devices else None,
                "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
                "free_bytes": FileSystem().free_bytes(Path.cwd()), "write_trouble": trouble,
                "env_steps_per_second": steps_per_second(),
            }  # fmt: skip
        for line in [json_line(row)] if as_json else _lines(row):
            write_line(sys.stdout, line)
        raise typer.Exit(0 if backends and trouble is None else 2)


def version_of(distribution: str, module: str) -> str | None:
    """Its version, "installed" where it has none; None where it is not there. Nothing is imported."""
    if find_spec(module) is None:
        return None
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "installed"


def write_trouble(directory: Path) -> str | None:
    """Why no file can be made in ``directory``; None where one can (it is deleted again)."""
    fs, path = FileSystem(), directory / f".tensor-optix-doctor-{secrets.token_hex(4)}"
    try:
        fs.write_new(path, b"")
        fs.remove_file(path)
    except CheckpointError as error:
        return error.reason
    return None


def steps_per_second() -> float:
    """Env steps of CartPole-v1 a second, one after the other, with random actions."""
    from tensor_optix.quick.environments import env_factory

    env = env_factory("CartPole-v1")()
    env.reset(seed=0)
    start, n = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < SPEED_SECONDS:
        _, _, terminated, truncated, _ = env.step(n % 2)
        n += 1
        if terminated or truncated:
            env.reset()
    env.close()
    return n / seconds


def _lines(row: dict[str, Any]) -> list[str]:
    rows = []
    for name, (_, extra) in LIBRARIES.items():
        version = row["libraries"][name]
        rows.append([name, version or "-", "" if version or extra is None else install_hint(extra)])
    rooms = f"{row['free_bytes'] / 2**30:.1f} GiB free"
    accelerators = row["accelerators"]
    devices = "not asked (--devices asks)" if accelerators is None else ", ".join(accelerators) or "none"
    return [
        f"tensor-optix {row['tensor_optix']}, Python {row['python']}, {row['system']}, {row['cores']} cores",
        *table_lines(("library", "version", "missing"), rows),
        f"backends      {', '.join(row['backends']) or 'none: ' + install_hint('torch')}",
        f"accelerators  {devices}",
        f"disk          {rooms}; {row['write_trouble'] or 'can be written'}",
        f"speed         {row['env_steps_per_second']:,.0f} env steps/s on CartPole-v1",
        *(f"{name}={value}" for name, value in row["variables"].items()),
    ]
