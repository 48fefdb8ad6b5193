"""How does the command line fail? One sentence on stderr, and an exit code that a script can act on."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tensor_optix.cli.text import printable, write_line
from tensor_optix.errors import CheckpointError, ConfigError, MissingDependency, TensorOptixError

WRONG_USAGE, NOT_CONVERGED, FAILED, INTERRUPTED, PIPE_CLOSED, TERMINATED = 2, 3, 4, 130, 141, 143

_WRONG_USAGE = (ConfigError, MissingDependency, CheckpointError)


@contextmanager
def told_in_a_sentence(*, with_traceback: bool) -> Iterator[None]:
    """Turn whatever goes wrong inside into a sentence and an exit code; ``with_traceback`` shows the stack too."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _forget_stdout()
        raise typer.Exit(PIPE_CLOSED) from None
    except Exception as error:  # noqa: BLE001 - the border of the program: everything is told, nothing is swallowed
        if with_traceback:
            traceback.print_exception(error)
        say(sentence(error))
        raise typer.Exit(exit_code_of(error)) from None


def say(text: str) -> None:
    """A warning or an error, for people."""
    write_line(sys.stderr, f"tensor-optix: {printable(text)}")


def sentence(error: BaseException) -> str:
    """What went wrong, in one line. Errors of other libraries get their type, and where the stack can be seen."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if isinstance(error, TensorOptixError):
        return f"{error}{notes}"
    return f"{type(error).__name__}: {error}{notes} (--traceback shows where)"


def exit_code_of(error: BaseException) -> int:
    """2 when the call has to change (arguments, libraries, directories), 4 when an environment or an agent failed."""
    return WRONG_USAGE if isinstance(error, _WRONG_USAGE) else FAILED


def _forget_stdout() -> None:
    """Nobody reads any more; without this Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
