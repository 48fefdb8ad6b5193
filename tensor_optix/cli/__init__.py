"""The command line: one file a verb."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Annotated, TextIO

import typer

from tensor_optix._about import VERSION
from tensor_optix.cli.compare import compare
from tensor_optix.cli.dashboard import dashboard
from tensor_optix.cli.doctor import doctor
from tensor_optix.cli.enjoy import enjoy
from tensor_optix.cli.envs import envs
from tensor_optix.cli.eval import evaluate
from tensor_optix.cli.explain import explain
from tensor_optix.cli.export import export
from tensor_optix.cli.failures import say
from tensor_optix.cli.init import init
from tensor_optix.cli.list import list_runs
from tensor_optix.cli.report import report
from tensor_optix.cli.resume import resume
from tensor_optix.cli.search import search
from tensor_optix.cli.show import show
from tensor_optix.cli.train import train

app = typer.Typer(
    help="A training loop that needs no babysitter: it trains until nothing more is to be gained, and says why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS: dict[str, Callable[..., None]] = {
    "train": train, "resume": resume, "search": search, "eval": evaluate, "enjoy": enjoy, "compare": compare,
    "list": list_runs, "show": show, "explain": explain, "report": report, "export": export, "envs": envs,
    "doctor": doctor, "init": init, "dashboard": dashboard,
}  # fmt: skip
for _name, _verb in VERBS.items():
    app.command(_name)(_verb)


def main() -> None:
    """Run the program. Its name does not depend on how it was started."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without "█" shows "?", and the run goes on
    warnings.showwarning = _show_warning
    app(prog_name="tensor-optix")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"tensor-optix {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the program itself, before any verb."""


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """A library's warning as one line on stderr, without what could steer a terminal."""
    say(f"warning: {message}")
