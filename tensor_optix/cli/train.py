"""``tensor-optix train ENV_ID``: train until nothing more is to be gained, and tell what has come of it."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tensor_optix.callbacks.report import ReportWriter
from tensor_optix.cli.ending import Ending
from tensor_optix.cli.failures import say, told_in_a_sentence
from tensor_optix.cli.invocation import command_line, shown
from tensor_optix.cli.options import AllowImport, AsJson, Seed, Traceback, refuse_import, settings_from
from tensor_optix.cli.screens import Screen, screen_for
from tensor_optix.core.rng import fresh_seed

if TYPE_CHECKING:
    from tensor_optix.optimizer import RLOptimizer


@dataclass(frozen=True)
class Job:
    """What to train, with every choice made."""

    env_id: str
    seed: int
    settings: dict[str, str]
    max_steps: int | None
    max_time: float | None
    out: Path | None
    allow_import: bool

    @property
    def command(self) -> str:
        """The call that does the same again, seed included."""
        options = ["--seed", str(self.seed)]
        options += [] if self.max_steps is None else ["--max-steps", str(self.max_steps)]
        options += [] if self.max_time is None else ["--max-time", f"{self.max_time:g}"]
        options += [part for name, value in self.settings.items() for part in ("--set", f"{name}={value}")]
        options += ["--allow-import"] if self.allow_import else []
        return command_line("train", self.env_id, *options)


def train(
    env_id: Annotated[str, typer.Argument(metavar="ENV_ID", help="A Gymnasium id, for example CartPole-v1.")],
    seed: Seed = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many environment steps.")] = None,
    max_time: Annotated[float | None, typer.Option(min=0, help="Stop after so many seconds.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter or a loop setting.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Put the run's directory here. Default: runs/ENV_ID.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="A line per evaluation instead of the live panel.")] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="One line at the end, and nothing else.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.html.")] = False,
    allow_import: AllowImport = False,
    traceback: Traceback = False,
) -> None:
    """Train on ENV_ID until nothing more is to be gained, and keep the best policy.

    Exit codes: 0 converged; 2 the call cannot work; 3 a budget ended first; 4 the environment or the agent failed;
    130 Ctrl-C and 143 SIGTERM (the best policy is kept).
    """
    with told_in_a_sentence(with_traceback=traceback):
        screen = screen_for(sys.stdout, os.environ, plain=plain, as_json=as_json, quiet=quiet)
        refuse_import(env_id, allowed=allow_import)
        job = Job(
            env_id, fresh_seed() if seed is None else seed, settings_from(settings or []), max_steps, max_time, out,
            allow_import,
        )  # fmt: skip
        report = None if no_report else ReportWriter(command=job.command)
        raise typer.Exit(_run(job, screen, report))


def _run(job: Job, screen: Screen, report: ReportWriter | None) -> int:
    """Do it, show it, and return the exit code. What an environment prints goes to stderr: stdout is the screen's."""
    with redirect_stdout(sys.stderr):
        optimizer = _prepared(job, screen, report)
        _run_keeping_the_best(optimizer)
    assert optimizer.result is not None, "run() leaves a result"
    if report is not None and report.problem is not None:
        say(f"no report: {report.problem}")
    ending = Ending(
        result=optimizer.result,
        state=optimizer.state,
        report=report.path if report is not None else None,
        next_command=command_line("eval", shown(optimizer.result.run_dir)),
    )
    screen.ended(ending)
    return ending.exit_code


def _prepared(job: Job, screen: Screen, report: ReportWriter | None) -> RLOptimizer:
    from tensor_optix import quick

    optimizer = quick.prepare(
        job.env_id,
        seed=job.seed,
        settings=job.settings,
        out=job.out,
        max_steps=job.max_steps,
        max_time=job.max_time,
        reporters=[screen],
        callbacks=[] if report is None else [report],
    )
    screen.planned(quick.plan_lines(optimizer))
    return optimizer


def _run_keeping_the_best(optimizer: RLOptimizer) -> None:
    try:
        optimizer.run()
    except BaseException:
        if optimizer.best_snapshot is not None:
            say(f"the best policy so far is kept in {shown(optimizer.run_dir)}")
        raise
