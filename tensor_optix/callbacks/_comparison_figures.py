"""How do groups of runs look beside each other: their scores with intervals, and their learning curves?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tensor_optix.callbacks._report_page import RunRecord
from tensor_optix.callbacks._report_theme import COLOURS, legend, style, svg_of
from tensor_optix.core.plain_text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIES = ("s0", "s1", "s2", "s3", "s4", "s5")
WIDE, NARROW = 8.6, 4.1  # inches
POINTS = 200


class Named(Protocol):
    """What is drawn of a group."""

    @property
    def environment(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def runs(self) -> tuple[RunRecord, ...]: ...
    @property
    def scores(self) -> tuple[float, ...]: ...
    @property
    def iqm(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def intervals_svg(groups: Sequence[Named], *, is_narrow: bool) -> str:
    """A line per group: every run's score as a dot, the interquartile mean, and its interval."""

    def draw() -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(NARROW if is_narrow else WIDE, 0.9 + 0.4 * len(groups)), layout="constrained")
        axes = figure.add_subplot()
        for row, group in enumerate(groups):
            colour = COLOURS[SERIES[row % len(SERIES)]]
            axes.barh(row, group.high - group.low, left=group.low, height=0.25, color=colour, alpha=0.35)
            axes.plot(group.scores, [row] * len(group.scores), "o", color=colour, markersize=4, alpha=0.6)
            axes.plot([group.iqm], [row], "|", color=colour, markersize=16, markeredgewidth=2.5)
        axes.set_yticks(range(len(groups)), [printable(group.name) for group in groups], parse_math=False)
        axes.set_ylim(len(groups) - 0.4, -0.6)
        style(axes, x_label="score: runs, IQM and 95 % interval", n_ticks=4 if is_narrow else 6)
        return figure

    return svg_of(draw, salt=f"intervals {groups[0].environment} {is_narrow}", label="scores with intervals")


def curves_svg(groups: Sequence[Named], *, is_narrow: bool) -> str:
    """Smoothed training scores over env steps: the median of each group, and the middle half of its runs."""

    def draw() -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(NARROW if is_narrow else WIDE, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for row, group in enumerate(groups):
            colour, steps_and_scores = COLOURS[SERIES[row % len(SERIES)]], _on_one_grid(group.runs)
            if steps_and_scores is None:
                continue
            steps, scores = steps_and_scores
            low, middle, high = np.nanquantile(scores, (0.25, 0.5, 0.75), axis=0)
            axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(steps, middle, color=colour, linewidth=2, label=printable(group.name))
        style(axes, y_label="training score", n_ticks=4 if is_narrow else 6)
        legend(figure, axes, is_narrow=is_narrow)
        return figure

    return svg_of(draw, salt=f"curves {groups[0].environment} {is_narrow}", label="learning curves of the groups")


def _on_one_grid(runs: Sequence[RunRecord]) -> tuple[np.ndarray, np.ndarray] | None:
    """(steps [P], scores [runs, P]); a run that has ended keeps its last score. None without any score."""
    curves = [([row["env_steps"] for row in run.metrics], [row["smoothed"] for row in run.metrics])
              for run in runs if run.metrics]  # fmt: skip
    if not curves:
        return None
    grid = np.linspace(max(steps[0] for steps, _ in curves), max(steps[-1] for steps, _ in curves), POINTS)
    return grid, np.stack([np.interp(grid, steps, scores) for steps, scores in curves])
