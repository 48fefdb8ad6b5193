"""What else moved while a run went on: the gap to validation, hyperparameters, the spacing of evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tensor_optix.callbacks._report_theme import COLOURS, Row, style, svg_of, thinned
from tensor_optix.core.plain_text import printable
from tensor_optix.core.reporting import of_training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_SHOWN = 6
LOW_WIDE, LOW_NARROW = (8.6, 2.0), (4.1, 2.2)  # inches
WIDE_WIDTH, ROW_HEIGHT = 8.6, 1.7


def gap_svg(metrics: Sequence[Row], *, is_narrow: bool) -> str | None:
    """Training score minus validation score over env steps; None where nothing was validated alike."""
    rows = [row for row in metrics if "generalization_gap" in row["metrics"]]
    if not rows:
        return None

    def draw() -> Figure:
        figure, axes = _one(is_narrow)
        axes.axhline(0, color=COLOURS["target"], linewidth=1)
        axes.plot([row["env_steps"] for row in rows], [row["metrics"]["generalization_gap"] for row in rows],
                  "o-", color=COLOURS["val"], linewidth=1.6, markersize=3.5)  # fmt: skip
        style(axes, y_label="train − val", n_ticks=4 if is_narrow else 6)
        return figure

    return svg_of(draw, salt=f"gap {is_narrow}", label="generalisation gap over environment steps")


def staircase_svg(metrics: Sequence[Row], *, is_narrow: bool) -> str | None:
    """Windows between two evaluation points over env steps; None where it never grew."""
    if len({row["interval"] for row in metrics}) < 2:
        return None
    rows = thinned(metrics)

    def draw() -> Figure:
        figure, axes = _one(is_narrow)
        steps, intervals = [row["env_steps"] for row in rows], [row["interval"] for row in rows]
        axes.step(steps, intervals, where="post", color=COLOURS["smoothed"], linewidth=1.6)
        axes.set_ylim(bottom=0)
        style(axes, y_label="windows", n_ticks=4 if is_narrow else 6)
        return figure

    return svg_of(draw, salt=f"staircase {is_narrow}", label="windows between two evaluation points")


def hyperparams_svg(metrics: Sequence[Row], events: Sequence[Row], *, is_narrow: bool) -> str | None:
    """A small picture for each hyperparameter that moved: its value in force, and ticks where it was probed."""
    moved = moving(metrics)[:MAX_SHOWN]
    if not moved:
        return None
    rows = thinned(metrics)

    def draw() -> Figure:
        from matplotlib.figure import Figure

        columns = 1 if is_narrow else min(3, len(moved))
        n_rows = -(-len(moved) // columns)
        size = (LOW_NARROW[0] if is_narrow else WIDE_WIDTH, ROW_HEIGHT * n_rows + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        for number, name in enumerate(moved):
            _one_hyperparam(figure.add_subplot(n_rows, columns, number + 1), name, rows, events)
        return figure

    return svg_of(draw, salt=f"hyperparams {is_narrow}", label="hyperparameters over environment steps")


def moving(metrics: Sequence[Row]) -> list[str]:
    """Hyperparameters that had more than one value in force, those of the most values first."""
    values: dict[str, set[Any]] = {}
    for row in metrics:
        for name, value in in_force(row).items():
            if isinstance(value, int | float):
                values.setdefault(name, set()).add(value)
    return sorted((name for name in values if len(values[name]) > 1), key=lambda name: -len(values[name]))


def in_force(row: Row) -> dict[str, Any]:
    """Hyperparameters as learning used them: controllers inside an agent say so in its diagnostics."""
    hyperparams: Mapping[str, Any] = row["hyperparams"]
    used = {n: of_training(row["metrics"], n) for n, value in hyperparams.items() if isinstance(value, int | float)}
    return {n: value if used.get(n) is None else used[n] for n, value in hyperparams.items()}


def _one_hyperparam(axes: Axes, name: str, rows: Sequence[Row], events: Sequence[Row]) -> None:
    steps = [row["env_steps"] for row in rows if name in row["hyperparams"]]
    values = [in_force(row)[name] for row in rows if name in row["hyperparams"]]
    axes.step(steps, values, where="post", color=COLOURS["smoothed"], linewidth=1.6)
    if min(values) > 0 and max(values) / min(values) >= 5:
        axes.set_yscale("log")
    probes = [event["env_steps"] for event in events if event["kind"] == "tuned" and name in event["evidence"]]
    if probes:
        axes.plot(probes, [0.02] * len(probes), "|", color=COLOURS["best"], markersize=7,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    style(axes, x_label="", n_ticks=3)
    axes.set_title(printable(name), loc="left", fontsize=9, color=COLOURS["ink"], parse_math=False)


def _one(is_narrow: bool) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=LOW_NARROW if is_narrow else LOW_WIDE, layout="constrained")
    return figure, figure.add_subplot()
