"""The live panel: keeps what the loop tells and draws it a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from tensor_optix.cli.ending import Ending
from tensor_optix.cli.panel_story import Story
from tensor_optix.cli.panel_view import Frame, panel
from tensor_optix.cli.screens import WIDTH, Screen
from tensor_optix.cli.text import write_line
from tensor_optix.core.reporting import Event, Progress, RunInfo
from tensor_optix.core.types import RunResult

REFRESHES_PER_SECOND = 4
PHASES = {"confirmed": "evaluates the best policy on fresh seeds", "stopped": "has ended: writes the report"}
"""What goes on after such a decision, until the next window."""


class PanelScreen(Screen):
    """Shows a panel from the start of the run, so also before the first window has ended.

    The drawing thread only reads; each attribute is replaced or appended to in one step.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._console = Console(file=stream, highlight=False)
        self._info: RunInfo | None = None
        self._progress: Progress | None = None
        self._story = Story()
        self._started_at = 0.0
        self._phase = "collecting the first window"
        self._live = Live(  # asks for a picture at once
            console=self._console, get_renderable=self._render, refresh_per_second=REFRESHES_PER_SECOND
        )

    @property
    def width(self) -> int:
        return min(WIDTH, self._console.width)

    def planned(self, lines: Sequence[str]) -> None:
        for line in lines:
            write_line(self._stream, line)

    def started(self, info: RunInfo) -> None:
        self._started_at = self._clock()
        self._info = info
        self._live.start()

    def progressed(self, progress: Progress) -> None:
        self._phase = ""
        self._story = self._story.after_window(progress)
        self._progress = progress

    def decided(self, event: Event) -> None:
        self._story = self._story.after_decision(event)
        self._phase = PHASES.get(event.kind, self._phase)

    def finished(self, result: RunResult) -> None:
        self._phase = result.explanation

    def closed(self) -> None:
        self._live.stop()

    def ended(self, ending: Ending) -> None:
        for line in ending.lines(self.width):
            write_line(self._stream, line)

    def _render(self) -> RenderableType:
        if self._info is None:
            return Text()
        frame = Frame(
            info=self._info,
            progress=self._progress,
            seconds=self._clock() - self._started_at,
            phase=self._phase,
            story=self._story,
        )
        return panel(frame, self._console.width, self._console.height)
