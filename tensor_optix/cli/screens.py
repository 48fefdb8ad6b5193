"""How does a run look while it goes on? Lines, JSON, nothing, or (in ``panel``) a live panel."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from tensor_optix.cli.ending import Ending
from tensor_optix.cli.text import write_line
from tensor_optix.core.reporting import Event, LineReporter, Progress, Reporter, RunInfo, event_row, tick_row
from tensor_optix.errors import ConfigError

WIDTH = 98


class Screen(Reporter):
    """A reporter that also shows what comes before and after ``run()``; all methods do nothing by default."""

    @property
    def width(self) -> int:
        """Characters of a line that is meant for people."""
        return WIDTH

    def planned(self, lines: Sequence[str]) -> None:
        """What is going to be done."""

    def ended(self, ending: Ending) -> None:
        """What has come of it."""


class PlainScreen(Screen):
    """Plan, one line per evaluation point, and the block at the end: for logs and simple terminals."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines = LineReporter(stream)

    @property
    def width(self) -> int:
        return terminal_width(self._stream)

    def planned(self, lines: Sequence[str]) -> None:
        for line in lines:
            write_line(self._stream, line)

    def progressed(self, progress: Progress) -> None:
        self._lines.progressed(progress)

    def ended(self, ending: Ending) -> None:
        for line in ending.lines(self.width) if self._stream.isatty() else ending.block:
            write_line(self._stream, line)


class QuietScreen(Screen):
    """Nothing but one line at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def ended(self, ending: Ending) -> None:
        write_line(self._stream, ending.last_line)


class JsonScreen(Screen):
    """One JSON object a line; ``type`` is info, progress, event or result."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def started(self, info: RunInfo) -> None:
        self._write("info", {
            "run_id": info.run_id, "run_dir": str(info.run_dir), "environment": info.environment, "agent": info.agent,
            "seed": info.seed, "dormant_threshold": info.dormant_threshold, "hyperparams": dict(info.hyperparams),
        })  # fmt: skip

    def progressed(self, progress: Progress) -> None:
        self._write("progress", tick_row(progress))

    def decided(self, event: Event) -> None:
        self._write("event", event_row(event))

    def ended(self, ending: Ending) -> None:
        self._write("result", ending.row)

    def _write(self, kind: str, row: dict[str, Any]) -> None:
        self._stream.write(json_line({"type": kind, **row}) + "\n")
        self._stream.flush()


def screen_for(stream: TextIO, environ: Mapping[str, str], *, plain: bool, as_json: bool, quiet: bool) -> Screen:
    """The screen that the options ask for; a live panel where the terminal can show one and none is asked for."""
    chosen = [name for name, wanted in (("--plain", plain), ("--json", as_json), ("--quiet", quiet)) if wanted]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} exclude each other; give one of them")
    if as_json:
        return JsonScreen(stream)
    if quiet:
        return QuietScreen(stream)
    if plain or not can_show_panel(stream, environ):
        return PlainScreen(stream)
    from tensor_optix.cli.panel import PanelScreen

    return PanelScreen(stream)


def terminal_width(stream: TextIO) -> int:
    """Of the terminal behind ``stream``, at most WIDTH; WIDTH where there is none."""
    return min(WIDTH, shutil.get_terminal_size().columns) if stream.isatty() else WIDTH


def can_show_panel(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """True for a terminal that moves its cursor and has colours, with a person in front of it."""
    is_ci = environ.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and not is_ci and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def json_line(value: Any) -> str:
    """``value`` as standard JSON on one line in ASCII: NaN and infinities become null, NumPy scalars numbers."""
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # a NumPy scalar or array
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
