"""The learning curve of a run as a picture: scores over env steps, with bands for the loop's states."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tensor_optix.callbacks._report_theme import COLOURS, Row, legend, once, style, svg_of, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND_OPACITY = 0.13
WIDE, NARROW, PNG_SIZE = (8.6, 3.7), (4.1, 3.6), (9.0, 4.4)  # inches


def curve_svg(
    metrics: Sequence[Row], events: Sequence[Row], *, target: float | None = None, is_narrow: bool = False
) -> str:
    """An ``<svg>`` element to put into a page that defines ``--curve-*``. ``is_narrow``: for a phone."""
    size = NARROW if is_narrow else WIDE
    salt = "narrow" if is_narrow else "wide"
    return svg_of(lambda: _figure(thinned(metrics), events, target, size), salt=salt, label="learning curve")


def curve_png(metrics: Sequence[Row], events: Sequence[Row], *, title: str, target: float | None = None) -> bytes:
    """The same for image viewers, with a title."""
    figure = _figure(metrics, events, target, PNG_SIZE)
    figure.axes[0].set_title(title, loc="left", fontsize=11, color=COLOURS["ink"], parse_math=False)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=130)
    return data.getvalue()


def state_bands(metrics: Sequence[Row]) -> list[tuple[str, float, float]]:
    """(state, from, to) in env steps: stretches of ticks in one state; they touch each other."""
    bands: list[tuple[str, float, float]] = []
    for row in metrics:
        state, steps = str(row["state"]), float(row["env_steps"])
        if bands and bands[-1][0] == state:
            bands[-1] = (state, bands[-1][1], steps)
        else:
            bands.append((state, bands[-1][2] if bands else steps, steps))
    return bands


def best_marks(metrics: Sequence[Row], events: Sequence[Row]) -> list[tuple[float, float]]:
    """(env steps, score) of the policies that were kept as the best so far, in the unit that they were chosen by."""
    scores = {row["window"]: float(row["score"]) for row in metrics}
    marks = []
    for event in events:
        if event.get("kind") == "best" and event.get("window") in scores:
            chosen_by = event.get("evidence", {}).get("score")
            score = float(chosen_by) if isinstance(chosen_by, int | float) else scores[event["window"]]
            marks.append((float(event["env_steps"]), score))
    return marks


def rollback_steps(events: Sequence[Row]) -> list[float]:
    """Env steps at which the loop went back to an older policy."""
    return [float(event["env_steps"]) for event in events if event.get("kind") == "rolled back"]


def _figure(
    metrics: Sequence[Row], events: Sequence[Row], target: float | None, size: tuple[float, float]
) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    is_narrow = size[0] < WIDE[0]
    if metrics:
        _draw(axes, metrics, events, target)
    else:
        axes.text(0.5, 0.5, "no policy was scored", ha="center", color=COLOURS["ink"], transform=axes.transAxes)
    style(axes, y_label="score", n_ticks=4 if is_narrow else 6)
    if metrics:
        legend(figure, axes, is_narrow=is_narrow)
    return figure


def _draw(axes: Axes, metrics: Sequence[Row], events: Sequence[Row], target: float | None) -> None:
    steps = [float(row["env_steps"]) for row in metrics]
    for state, start, stop in state_bands(metrics):
        colour = COLOURS.get(state.lower(), COLOURS["dormant"])
        axes.axvspan(start, stop, color=colour, alpha=BAND_OPACITY, linewidth=0, label=once(axes, state))
    scores, smoothed = [row["score"] for row in metrics], [row["smoothed"] for row in metrics]
    axes.plot(steps, scores, color=COLOURS["raw"], linewidth=1, label="train")
    axes.plot(steps, smoothed, color=COLOURS["smoothed"], linewidth=2, label="train, smoothed")
    validated = [row for row in metrics if "val_score" in row["metrics"]]
    if validated:
        at, val = [row["env_steps"] for row in validated], [row["metrics"]["val_score"] for row in validated]
        axes.plot(at, val, "o-", color=COLOURS["val"], linewidth=1.6, markersize=3.5, label="validation")
    if marks := best_marks(metrics, events):
        at, kept = [steps for steps, _ in marks], [score for _, score in marks]
        axes.plot(at, kept, "^", color=COLOURS["best"], markersize=5, linestyle="none", label="best so far")
    if target is not None and _is_near(target, [*scores, *smoothed]):
        axes.axhline(target, color=COLOURS["target"], linewidth=1.2, linestyle="--", label="target")
    for back in rollback_steps(events):
        axes.axvline(back, color=COLOURS["trouble"], linewidth=1, alpha=0.6)
        axes.plot([back], [axes.get_ylim()[0]], "x", color=COLOURS["trouble"], label=once(axes, "rolled back"))


def _is_near(target: float, scores: Sequence[float]) -> bool:
    """Whether a line at the target leaves the curve at least a quarter of the height."""
    low, high = min(scores), max(scores)
    return max(high, target) - min(low, target) <= 4 * max(high - low, 1e-9)
