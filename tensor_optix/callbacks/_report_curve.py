"""The learning curve of a run as a picture: scores over env steps, with bands for the loop's states.

Matplotlib is imported inside the functions, and never pyplot: no window system, no global figures.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

COLOURS = {
    "ink": "#1f2328", "grid": "#d8dee4", "raw": "#8fb8e8", "smoothed": "#0b5cad", "best": "#b3480f",
    "active": "#3fa45b", "cooling": "#d9a514", "dormant": "#7d8590", "watchdog": "#9a6dd7",
}  # fmt: skip
"""The light palette. In the SVG each becomes ``var(--curve-NAME)``, so that the page can choose the dark one."""

DARK_COLOURS = {
    "ink": "#e6edf3", "grid": "#30363d", "raw": "#3d6ea5", "smoothed": "#79b8ff", "best": "#ffa657",
    "active": "#3fb950", "cooling": "#d29922", "dormant": "#8b949e", "watchdog": "#bc8cff",
}  # fmt: skip

BAND_OPACITY = 0.13
WIDE, NARROW, PNG_SIZE = (8.6, 3.7), (4.1, 3.6), (9.0, 4.4)  # inches


def curve_svg(metrics: Sequence[Row], events: Sequence[Row], *, is_narrow: bool = False) -> str:
    """An ``<svg>`` element to put into a page that defines ``--curve-*``. ``is_narrow``: for a phone."""
    from matplotlib import rc_context

    # ids are derived from the salt: two figures in one page must not share them
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "narrow" if is_narrow else "wide"}):
        figure = _figure(metrics, events, NARROW if is_narrow else WIDE)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _themed(text.getvalue())


def curve_png(metrics: Sequence[Row], events: Sequence[Row], *, title: str) -> bytes:
    """The same for image viewers, with a title."""
    figure = _figure(metrics, events, PNG_SIZE)
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
    """(env steps, score) of the ticks whose policy was kept as the best so far."""
    windows = {event.get("window") for event in events if event.get("kind") == "best"}
    return [(float(row["env_steps"]), float(row["score"])) for row in metrics if row["window"] in windows]


def _figure(metrics: Sequence[Row], events: Sequence[Row], size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    if metrics:
        _draw(axes, metrics, events)
    else:
        axes.text(0.5, 0.5, "no policy was scored", ha="center", color=COLOURS["ink"], transform=axes.transAxes)
    _style(axes)
    if metrics:
        _legend(figure, axes, n_columns=6 if size[0] > 6 else 3)
    return figure


def _draw(axes: Axes, metrics: Sequence[Row], events: Sequence[Row]) -> None:
    steps = [float(row["env_steps"]) for row in metrics]
    for state, start, stop in state_bands(metrics):
        colour = COLOURS.get(state.lower(), COLOURS["dormant"])
        axes.axvspan(start, stop, color=colour, alpha=BAND_OPACITY, linewidth=0, label=_once(axes, state))
    axes.plot(steps, [row["score"] for row in metrics], color=COLOURS["raw"], linewidth=1, label="score")
    axes.plot(steps, [row["smoothed"] for row in metrics], color=COLOURS["smoothed"], linewidth=2, label="smoothed")
    if marks := best_marks(metrics, events):
        at, scores = zip(*marks, strict=True)
        axes.plot(at, scores, "^", color=COLOURS["best"], markersize=5, linestyle="none", label="best so far")


def _style(axes: Axes) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(x=0.01)
    axes.set_xlabel("environment steps", color=COLOURS["ink"])
    axes.set_ylabel("score", color=COLOURS["ink"])
    axes.tick_params(colors=COLOURS["ink"], length=0)
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _legend(figure: Figure, axes: Axes, *, n_columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    look = {"ncols": n_columns, "frameon": False, "labelcolor": COLOURS["ink"], "fontsize": 9}
    figure.legend(handles, labels, loc="outside lower left", **look)


def _once(axes: Axes, label: str) -> str:
    """``label`` the first time, then a name that legends leave out."""
    return f"_{label}" if label in axes.get_legend_handles_labels()[1] else label


def _themed(document: str) -> str:
    """The bare element of an SVG document, its colours replaced by the page's variables."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"', r"\1\2", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--curve-{name})")
    return svg.replace("<svg ", '<svg role="img" aria-label="learning curve" ', 1)
