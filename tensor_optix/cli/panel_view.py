"""What does the live panel look like at one instant? A pure function of what is known then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tensor_optix.cli.sparkline import bar, sparkline
from tensor_optix.cli.text import printable, score_text, stopwatch, value_text
from tensor_optix.core.reporting import Event, Progress, RunInfo
from tensor_optix.core.types import LoopState

WIDEST = 100
ECHO_COLUMNS = 3  # a terminal echoes ^C behind the panel; without room it would start a new line and tear the picture
BAR_WIDTH = 20
TITLE_FRAME = 6  # corners, dashes and spaces around a title
LABEL_WIDTH = len("converged?")
KIND_WIDTH = len("continued")
MAX_HYPERPARAMS = 12
STATE_STYLES = {
    LoopState.ACTIVE: "bold green",
    LoopState.COOLING: "bold yellow",
    LoopState.DORMANT: "bold cyan",
    LoopState.WATCHDOG: "bold magenta",
}
HINT = "Ctrl-C once: stop and keep the best     twice: quit now"


@dataclass(frozen=True)
class Frame:
    """Everything that one picture shows. ``seconds`` since the start; ``phase``: what is going on, for people."""

    info: RunInfo
    progress: Progress | None
    scores: tuple[float, ...]
    decisions: tuple[Event, ...]
    seconds: float
    phase: str


def panel(frame: Frame, width: int) -> RenderableType:
    """The panel for a terminal of ``width`` columns."""
    shown_width = min(width - ECHO_COLUMNS, WIDEST)
    parts: list[RenderableType] = [_figures(frame, shown_width), "", _hyperparams(frame, shown_width)]
    if frame.decisions:
        parts += ["", _decisions(frame)]
    parts += ["", Text(HINT, style="dim", no_wrap=True, overflow="ellipsis")]
    title = _title(frame.info, shown_width - TITLE_FRAME)
    return Panel(Group(*parts), title=title, title_align="left", width=shown_width, border_style="dim")


def _title(info: RunInfo, width: int) -> Text:
    """Cut here: a longer title would widen the panel."""
    names = f"{printable(info.environment)} · {printable(info.agent)}"
    title = Text(f"tensor-optix · {names} · seed {info.seed}", style="bold")
    title.truncate(max(width, 0), overflow="ellipsis")
    return title


def _figures(frame: Frame, width: int) -> Group:
    """Label and value, a line each."""
    return Group(
        _line("state", _state(frame)),
        _line("score", _score(frame, max(10, width - 40))),
        _line("best", Text(score_text(frame.progress.best if frame.progress else None))),
        _line("speed", Text(_speed(frame))),
        _line("converged?", _evidence(frame)),
    )


def _line(label: str, value: Text) -> Text:
    """One line that is cut, never wrapped: a table would take the room from its labels."""
    return Text.assemble((f"{label:>{LABEL_WIDTH}}  ", "dim"), value, no_wrap=True, overflow="ellipsis")


def _state(frame: Frame) -> Text:
    state = frame.progress.state if frame.progress else LoopState.ACTIVE
    style = STATE_STYLES[state]
    return Text.assemble((f"● {state.name}", style), f"  {printable(frame.phase)}")


def _score(frame: Frame, width: int) -> Text:
    if not frame.scores:
        return Text("none yet", style="dim")
    return Text.assemble((sparkline(frame.scores, width), "cyan"), f"  {score_text(frame.scores[-1])}")


def _speed(frame: Frame) -> str:
    if frame.progress is None:
        return f"{stopwatch(frame.seconds)} elapsed"
    steps, seconds = frame.progress.env_steps, max(frame.progress.seconds, 1e-9)
    return f"{steps:,} env steps · {steps / seconds:,.0f} steps/s · {stopwatch(frame.seconds)} elapsed"


def _evidence(frame: Frame) -> Text:
    """How far the convergence rule has come, by its own measure: never a percentage of steps.

    The probability that next to nothing is left to gain; under the patience rule, the scores in a row without a gain.
    """
    threshold, evidence = frame.info.dormant_threshold, frame.progress.evidence if frame.progress else {}
    if (p_done := evidence.get("p_done")) is not None:
        filled = bar(p_done, 1.0, BAR_WIDTH)
        return Text.assemble((filled, "cyan"), f"  probability {p_done:.2f} that less than 5 % is left to gain")
    misses = evidence.get("misses", 0.0)
    filled = bar(misses, threshold, BAR_WIDTH)
    return Text.assemble((filled, "cyan"), f"  {misses:.0f} of {threshold} scores without a gain")


def _hyperparams(frame: Frame, width: int) -> Table:
    """Name, value at the start and now; side by side where there is room."""
    start = frame.info.hyperparams
    now = frame.progress.hyperparams if frame.progress else start
    names = list(now)[:MAX_HYPERPARAMS]
    n_columns = 2 if width >= 76 and len(names) > 3 else 1
    table = Table.grid(padding=(0, 2))
    headings = ("hyperparameter", "start", "now") * n_columns
    for _ in headings:
        table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row(*(Text(heading, style="dim") for heading in headings))
    n_rows = -(-len(names) // n_columns)
    for row in range(n_rows):
        cells = [_hyperparam(name, start, now) for name in names[row::n_rows]]
        table.add_row(*(text for cell in cells for text in cell))
    return table


def _hyperparam(name: str, start: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Text, Text, Text]:
    before, after = _value(start, name), _value(now, name)
    return Text(printable(name)), Text(before), Text(after, style="" if before == after else "bold yellow")


def _value(hyperparams: Mapping[str, Any], name: str) -> str:
    return value_text(hyperparams[name]) if name in hyperparams else "-"


def _decisions(frame: Frame) -> Group:
    return Group(*(_decision(event) for event in frame.decisions))


def _decision(event: Event) -> Text:
    time = (f"{stopwatch(event.seconds)}  ", "dim")
    kind = (f"{printable(event.kind):<{KIND_WIDTH}}  ", "bold")
    return Text.assemble(time, kind, printable(event.text), no_wrap=True, overflow="ellipsis")
