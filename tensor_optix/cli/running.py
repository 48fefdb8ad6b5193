"""How is a run carried out and told about, however its optimizer was made?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from tensor_optix.callbacks.report import ReportWriter
from tensor_optix.cli.ending import Ending
from tensor_optix.cli.failures import say
from tensor_optix.cli.invocation import command_line, shown
from tensor_optix.cli.options import limit_options
from tensor_optix.cli.screens import Screen
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.types import RunResult, StopReason

if TYPE_CHECKING:
    from tensor_optix.optimizer import RLOptimizer

_BROKEN_OFF = (StopReason.INTERRUPTED, StopReason.TERMINATED)


def run_and_tell(make: Callable[[], RLOptimizer], screen: Screen, **options: Any) -> int:
    """``carried_out``, and the exit code of its ending."""
    return carried_out(make, screen, **options).exit_code


def carried_out(
    make: Callable[[], RLOptimizer],
    screen: Screen,
    *,
    has_report: bool,
    hint: str = "",
    resume_options: Sequence[str] = (),
    has_films: bool = True,
) -> Ending:
    """Run what ``make`` gives, and show it.

    hint: how any of it is changed. has_films: the report shows the first and the best policy.
    resume_options: of the call that goes on, should the run be interrupted.
    """
    report = None
    troubles: list[str] = []  # told once the panel is gone
    with redirect_stdout(sys.stderr):  # what an environment prints: stdout is the screen's
        optimizer = make()
        if has_report:
            report = ReportWriter(command=reproduction(optimizer.plan), tell=troubles.append)
            films = [_films(optimizer, troubles.append)] if has_films else []
            for callback in (*films, report):
                optimizer.add_callback(_UnlessTerminated(callback))
        screen.planned(_plan_lines(optimizer, hint, screen.width))
        _run_keeping_the_best(optimizer, resume_options)
    assert optimizer.result is not None, "run() leaves a result"
    for trouble in troubles:
        say(trouble)
    ending = Ending(
        result=optimizer.result,
        state=optimizer.state,
        report=report.path if report is not None else None,
        next_command=_next_command(optimizer.result, resume_options),
    )
    screen.ended(ending)
    return ending


class _UnlessTerminated(LoopCallback):
    """Leaves films and report out after SIGTERM: they take seconds, and a machine that is taken away may not wait."""

    def __init__(self, callback: LoopCallback) -> None:
        self._callback = callback

    def on_loop_start(self) -> None:
        self._callback.on_loop_start()

    def on_stop(self, result: RunResult) -> None:
        if result.reason is not StopReason.TERMINATED:
            self._callback.on_stop(result)


def _films(optimizer: RLOptimizer, tell: Callable[[str], None]) -> LoopCallback:
    from tensor_optix.quick.watching import recorder_for

    return recorder_for(optimizer, tell)


def reproduction(plan: Mapping[str, Any]) -> str:
    """The call that does the same again, seed included. plan: of an optimizer, or a run's identity.

    Raises ConfigError for a run that was not made from an environment id.
    """
    from tensor_optix import quick

    changed, details = quick.choices(plan), plan["details"]
    env_id = str(details["env_id"])
    options = ["--algo", details["algorithm"], "--backend", details["backend"], "--seed", str(plan["seed"])]
    options += limit_options(changed.pop("max_steps", None), changed.pop("max_time", None))
    options += [part for name, value in changed.items() for part in ("--set", f"{name}={value}")]
    options += ["--allow-import"] if ":" in env_id else []
    return command_line("train", env_id, *options)


def _plan_lines(optimizer: RLOptimizer, hint: str, width: int) -> list[str]:
    from tensor_optix import quick

    more = {"run": shown(optimizer.run_dir), **({"change": hint} if hint else {})}
    return quick.plan_lines(optimizer, more, width=width)


def _run_keeping_the_best(optimizer: RLOptimizer, resume_options: Sequence[str]) -> None:
    try:
        optimizer.run()
    except BaseException:
        if optimizer.best_snapshot is not None:
            run_dir = shown(optimizer.run_dir)
            say(f"the best policy so far is kept in {run_dir}")
            say(f"to go on from the last commit: {command_line('resume', run_dir, *resume_options)}")
        raise


def _next_command(result: RunResult, resume_options: Sequence[str]) -> str | None:
    """What to type now: go on, or see what the best policy is worth. None where there is neither."""
    if result.reason in _BROKEN_OFF:
        return command_line("resume", shown(result.run_dir), *resume_options)
    return command_line("eval", shown(result.run_dir)) if result.best_snapshot else None
