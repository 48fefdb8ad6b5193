"""ProgressBar: one line that shows how far a run has come."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tensor_optix.core import reporting
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.plain_text import printable
from tensor_optix.core.types import RunResult


class ProgressBar(LoopCallback, reporting.Reporter):
    """Steps, score, best score and state of the loop; a callback for scripts that print nothing else.

    max_steps: what a full bar stands for, usually the run's own ``max_steps`` (None: the bar only moves). stream:
    where it is drawn (default: standard error); on what is no terminal only the last line is written.
    """

    def __init__(self, max_steps: int | None = None, *, stream: TextIO | None = None) -> None:
        self._max_steps = max_steps
        self._stream = stream
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def started(self, info: reporting.RunInfo) -> None:
        self.closed()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(None), TextColumn("{task.completed:,.0f} steps"),
            TimeElapsedColumn(), TextColumn("{task.fields[words]}"),
            console=Console(file=self._stream or sys.stderr, highlight=False),
        )  # fmt: skip
        self._task = self._bar.add_task(printable(info.environment), total=self._max_steps, words="no score yet")
        self._bar.start()

    def progressed(self, progress: reporting.Progress) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.env_steps)
            if progress.score is not None:
                self._bar.update(self._task, words=_words(progress))

    def finished(self, result: RunResult) -> None:
        if self._bar is not None:
            score = "n/a" if result.score is None else f"{result.score:.1f}"
            self._bar.update(self._task, completed=result.env_steps, words=f"{result.reason.value}, best {score}")

    def closed(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _words(progress: reporting.Progress) -> str:
    best = "" if progress.best is None else f", best {progress.best:.1f}"
    return f"score {progress.score:.1f}{best}, {progress.state.name.lower()}"
