"""What does the live panel look like at one instant? A pure function of what is known then."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from tensor_optix.cli.panel_hyperparams import hyperparam_lines
from tensor_optix.cli.panel_story import Story
from tensor_optix.cli.sparkline import bar, sparkline
from tensor_optix.cli.text import printable, score_text, stopwatch
from tensor_optix.core.reporting import Event, Progress, RunInfo
from tensor_optix.core.types import LoopState, Verdict

WIDEST = 100
ECHO_COLUMNS = 3  # a terminal echoes ^C behind the panel; without room it would start a new line and tear the picture
BAR_WIDTH = 20
FRAME = 4  # the borders and the spaces beside them
TITLE_FRAME = 6  # corners, dashes and spaces around a title
LABEL_WIDTH = len("train score")
KIND_WIDTH = len("continued")
TWO_COLUMNS_FROM = 86
RIGHT_COLUMN = 40
LOW_TERMINAL = 30  # rows; a lower one gets fewer decisions and no list of what has not moved
STATE_STYLES = {
    LoopState.ACTIVE: "bold green",
    LoopState.COOLING: "bold yellow",
    LoopState.DORMANT: "bold cyan",
    LoopState.WATCHDOG: "bold magenta",
}
VERDICT_WORDS = {
    Verdict.IMPROVING: "improving", Verdict.FLAT: "no gain can be told from the noise at present",
    Verdict.CONVERGED: "converged", Verdict.CEILING: "every episode ends at the same, best return",
    Verdict.OVERFITTING: "validation no longer rises", Verdict.STUCK: "nothing has been learned",
    Verdict.COLLAPSED: "the policy has become worse and did not recover",
}  # fmt: skip
HINT = "Ctrl-C once: stop, keep the best, write the report     twice: quit now"


@dataclass(frozen=True)
class Frame:
    """Everything that one picture shows. ``seconds`` since the start; ``phase``: what is going on, for people; empty
    while the verdict says it."""

    info: RunInfo
    progress: Progress | None
    seconds: float
    phase: str = ""
    story: Story = field(default_factory=Story)


def panel(frame: Frame, width: int, height: int = 40) -> RenderableType:
    """The panel for a terminal of ``width`` columns and ``height`` rows."""
    shown_width = min(width - ECHO_COLUMNS, WIDEST)
    inner, is_low = shown_width - FRAME, height < LOW_TERMINAL
    parts: list[RenderableType] = [*_figures(frame, inner), ""]
    if lines := hyperparam_lines(frame.info.hyperparams, frame.story, inner, with_unchanged=not is_low):
        parts += [*lines, ""]
    if frame.story.decisions:
        parts += [*(_decision(event) for event in frame.story.decisions[-2 if is_low else 0 :]), ""]
    parts.append(Text(HINT, style="dim", no_wrap=True, overflow="ellipsis"))
    title = _title(frame.info, shown_width - TITLE_FRAME)
    return Panel(Group(*parts), title=title, title_align="left", width=shown_width, border_style="dim")


def _title(info: RunInfo, width: int) -> Text:
    """Cut here: a longer title would widen the panel."""
    names = f"{printable(info.environment)} · {printable(info.agent)}"
    title = Text(f"tensor-optix · {names} · seed {info.seed}", style="bold")
    title.truncate(max(width, 0), overflow="ellipsis")
    return title


def _figures(frame: Frame, width: int) -> list[Text]:
    """Labels and values: in two columns where there is room."""
    is_wide = width >= TWO_COLUMNS_FROM
    left_width = width - RIGHT_COLUMN if is_wide else width
    spark = max(8, left_width - LABEL_WIDTH - 14)
    story = frame.story
    left = [("train score", _series(story.scores, spark))]
    if frame.info.unit == "validation":
        left.append(("val score", _series(story.val_scores, spark)))
    left.append(("gap", _gap(story)) if frame.info.unit == "validation" else ("speed", _speed(frame)))
    right = [("best", _best(frame)), ("target", _target(frame))]
    if frame.info.unit == "validation":
        right.append(("speed", _speed(frame)))
    rows = [("state", _state(frame))]
    if is_wide:
        rows += [(label, _beside(value, left_width - LABEL_WIDTH - 2, *other))
                 for (label, value), other in zip(left, _padded(right, len(left)), strict=True)]  # fmt: skip
    else:
        rows += [left[0], *right[:1], *left[1:], *right[1:]]
    rows.append(("converged?", _evidence(frame)))
    return [_line(label, value) for label, value in rows]


def _padded(cells: list[tuple[str, Text]], n: int) -> list[tuple[str, Text]]:
    return [*cells, *[("", Text())] * (n - len(cells))]


def _beside(value: Text, width: int, label: str, other: Text) -> Text:
    """``other`` with its label at column ``width`` behind ``value``."""
    fitted = value.copy()
    fitted.truncate(width - 1, overflow="ellipsis", pad=False)
    fitted.pad_right(max(width - fitted.cell_len, 0))
    return Text.assemble(fitted, (f"{label:>6}  ", "dim"), other)


def _line(label: str, value: Text) -> Text:
    """One line that is cut, never wrapped: a table would take the room from its labels."""
    return Text.assemble((f"{label:>{LABEL_WIDTH}}  ", "dim"), value, no_wrap=True, overflow="ellipsis")


def _state(frame: Frame) -> Text:
    progress = frame.progress
    state = progress.state if progress else LoopState.ACTIVE
    words = frame.phase or (VERDICT_WORDS[progress.verdict] if progress else "")
    return Text.assemble((f"● {state.name}", STATE_STYLES[state]), f"  {printable(words)}")


def _series(scores: tuple[float, ...], width: int) -> Text:
    if not scores:
        return Text("none yet", style="dim")
    return Text.assemble((sparkline(scores, width), "cyan"), f"  {score_text(scores[-1])}")


def _best(frame: Frame) -> Text:
    progress, steps = frame.progress, frame.story.best_steps
    if progress is None or progress.best is None:
        return Text("none yet", style="dim")
    unit = {"validation": " val", "external": " external"}.get(frame.info.unit, "")
    return Text(f"{score_text(progress.best)}{unit}" + (f"  at {steps:,} steps" if steps is not None else ""))


def _target(frame: Frame) -> Text:
    info = frame.info
    if info.target is None:
        return Text("none (--target sets one)", style="dim")
    name = f"{printable(info.target_metric)} " if info.target_metric else ""
    if frame.story.target_steps is None:
        return Text(f"{name}{info.target:g}  not reached yet")
    return Text(f"{name}{info.target:g}  reached at {frame.story.target_steps:,} ✔", style="green")


def _gap(story: Story) -> Text:
    if story.gap is None:
        return Text("none yet", style="dim")
    return Text(f"{story.gap:+.1f}  (train − val)")


def _speed(frame: Frame) -> Text:
    if frame.progress is None:
        return Text(f"{stopwatch(frame.seconds)} elapsed")
    steps, seconds = frame.progress.env_steps, max(frame.progress.seconds, 1e-9)
    return Text(f"{steps / seconds:,.0f} steps/s  {_steps(steps)} in {stopwatch(frame.seconds)}")


def _steps(n: int) -> str:
    return f"{n:,}" if n < 1_000_000 else f"{n / 1e6:.2f}M"


def _evidence(frame: Frame) -> Text:
    """How far the convergence rule has come, by its own measure: never a percentage of steps.

    The probability that next to nothing is left to gain; under the patience rule, the scores in a row without a gain.
    """
    if frame.progress is not None and frame.progress.verdict in (Verdict.CONVERGED, Verdict.CEILING):
        return Text.assemble((bar(1, 1, BAR_WIDTH), "cyan"), f"  yes: {VERDICT_WORDS[frame.progress.verdict]}")
    threshold, evidence = frame.info.dormant_threshold, frame.progress.evidence if frame.progress else {}
    if (p_done := evidence.get("p_done")) is not None:
        filled = bar(p_done, 1.0, BAR_WIDTH)
        return Text.assemble((filled, "cyan"), f"  probability {p_done:.2f} that less than 5 % is left to gain")
    misses = evidence.get("misses", 0.0)
    filled = bar(misses, threshold, BAR_WIDTH)
    return Text.assemble((filled, "cyan"), f"  {misses:.0f} of {threshold} scores without a gain")


def _decision(event: Event) -> Text:
    time = (f"{stopwatch(event.seconds)}  ", "dim")
    kind = (f"{printable(event.kind):<{KIND_WIDTH}}  ", "bold")
    return Text.assemble(time, kind, printable(event.text), no_wrap=True, overflow="ellipsis")
