"""How do the figures of a report look, and how does one become part of a page that is light or dark?

Matplotlib is imported inside the functions, and never pyplot: no window system, no global figures.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

COLOURS = {
    "ink": "#1f2328", "grid": "#d8dee4", "raw": "#8fb8e8", "smoothed": "#0b5cad", "best": "#b3480f",
    "active": "#3fa45b", "cooling": "#d9a514", "dormant": "#7d8590", "watchdog": "#9a6dd7",
    "val": "#8a2be1", "target": "#57606b", "trouble": "#cf222f",
    "s0": "#0b5cae", "s1": "#b3480e", "s2": "#1a7f38", "s3": "#8a2be2", "s4": "#bf3989", "s5": "#6e7781",
}  # fmt: skip
"""The light palette. In the SVG each becomes ``var(--curve-NAME)``, so that the page can choose the dark one."""

DARK_COLOURS = {
    "ink": "#e6edf3", "grid": "#30363d", "raw": "#3d6ea5", "smoothed": "#79b8ff", "best": "#ffa657",
    "active": "#3fb950", "cooling": "#d29922", "dormant": "#8b949e", "watchdog": "#bc8cff",
    "val": "#d2a8ff", "target": "#9198a1", "trouble": "#ff7b72",
    "s0": "#79b8fe", "s1": "#ffa658", "s2": "#3fb951", "s3": "#d2a8fe", "s4": "#f778ba", "s5": "#8b949f",
}  # fmt: skip

MAX_POINTS = 800
"""Of one line in a page: a longer series is thinned, so that reports stay small."""
NARROW_INCHES = 5


def svg_of(draw: Callable[[], Figure], *, salt: str, label: str) -> str:
    """An ``<svg>`` element to put into a page that defines ``--curve-*``.

    salt: ids are derived from it, two figures in one page must not share them. label: for those who do not see it.
    """
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        text = io.StringIO()
        draw().savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _themed(text.getvalue(), label)


def thinned(rows: Sequence[Row]) -> list[Row]:
    """At most MAX_POINTS of them, evenly, the last one always."""
    step = -(-len(rows) // MAX_POINTS)
    return list(rows) if step <= 1 else [*rows[:-1:step], rows[-1]]


def style(axes: Axes, *, x_label: str = "environment steps", y_label: str = "", n_ticks: int = 6) -> None:
    """Quiet axes: a horizontal grid, no frame, steps as 15k."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(n_ticks))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.margins(x=0.01)
    axes.set_xlabel(x_label, color=COLOURS["ink"])
    axes.set_ylabel(y_label, color=COLOURS["ink"])
    axes.tick_params(which="both", colors=COLOURS["ink"], length=0)
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def legend(figure: Figure, axes: Axes, *, is_narrow: bool) -> None:
    """Below the picture; each name once."""
    handles, labels = axes.get_legend_handles_labels()
    look = {"ncols": 3 if is_narrow else 6, "frameon": False, "labelcolor": COLOURS["ink"], "fontsize": 9}
    figure.legend(handles, labels, loc="outside lower left", **look)


def once(axes: Axes, label: str) -> str:
    """``label`` the first time, then a name that legends leave out."""
    return f"_{label}" if label in axes.get_legend_handles_labels()[1] else label


def _themed(document: str, label: str) -> str:
    """The bare element of an SVG document, its colours replaced by the page's variables."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"', r"\1\2", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--curve-{name})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
