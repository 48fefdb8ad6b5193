"""Several runs side by side as one self-contained page: what each group reached, with intervals, and on which way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tensor_optix.callbacks._comparison_figures import curves_svg, intervals_svg
from tensor_optix.callbacks._report_html import cell, duration_text, number, safe, section, table
from tensor_optix.callbacks._report_page import RunRecord, figure
from tensor_optix.callbacks._report_style import head
from tensor_optix.callbacks.report import drawn
from tensor_optix.core.plain_text import score_text
from tensor_optix.storage import FileSystem

COMPARISON_FILE = "comparison.html"
_NOTE = (
    "IQM: the interquartile mean of the scores of the runs' best policies, on fresh seeds where there is such a "
    "score; its interval is a bootstrap over runs, and too narrow where they are few."
)


@dataclass(frozen=True)
class Group:
    """Runs of one environment and one algorithm. iqm: interquartile mean of their scores; low, high: 95 %."""

    environment: str
    name: str
    runs: tuple[RunRecord, ...]
    scores: tuple[float, ...]
    iqm: float
    low: float
    high: float


def write_comparison(groups: Sequence[Group], path: Path) -> Path:
    """Write the page to ``path``. Raises MissingDependency without matplotlib."""
    page = drawn(lambda: comparison_page(groups))
    fs = FileSystem()
    fs.ensure_directory(path.parent)
    fs.replace(path, page.encode())
    return path


def comparison_page(groups: Sequence[Group]) -> str:
    """The whole page; environments are never mixed, their scores do not compare."""
    environments = list(dict.fromkeys(group.environment for group in groups))
    n_runs = sum(len(group.runs) for group in groups)
    title = f"{n_runs} runs of {', '.join(environments)}"
    parts = [_environment(name, [group for group in groups if group.environment == name]) for name in environments]
    body = f"<body><main><header><h1>{safe(title)}</h1></header>{''.join(parts)}{_runs(groups)}</main></body>"
    return f'<!doctype html>\n<html lang="en">{head(title)}\n{body}</html>\n'


def _environment(name: str, groups: Sequence[Group]) -> str:
    rows = [[cell(group.name), cell(len(group.runs), "num"), cell(score_text(group.iqm), "num"), cell(
             f"{score_text(group.low)} to {score_text(group.high)}", "num"), cell(_median_steps(group), "num")]
            for group in groups]  # fmt: skip
    shown = table(("group", "runs", "IQM", "95 %", "median env steps"), rows)
    pictures = figure((curves_svg(groups, is_narrow=False), curves_svg(groups, is_narrow=True)))
    if any(len(group.runs) > 1 for group in groups):
        intervals = (intervals_svg(groups, is_narrow=False), intervals_svg(groups, is_narrow=True))
        pictures = figure(intervals) + pictures
    return section(safe(name), shown + pictures)


def _runs(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        for run, score in zip(group.runs, group.scores, strict=True):
            summary = run.summary
            steps, seconds = (number(summary.get(name)) or 0.0 for name in ("env_steps", "seconds"))
            rows.append([
                cell(group.environment), cell(group.name), cell(run.identity.get("seed")),
                cell(score_text(score), "num"), cell(summary.get("reason", "unfinished")),
                cell(f"{int(steps):,}", "num"), cell(duration_text(seconds), "num"), cell(run.run_id),
            ])  # fmt: skip
    headings = ("environment", "group", "seed", "score", "ended", "env steps", "time", "run")
    return section("Runs", f"{table(headings, rows)}<p class=muted>{_NOTE}</p>")


def _median_steps(group: Group) -> str:
    steps = sorted(number(run.summary.get("env_steps")) or 0.0 for run in group.runs)
    return f"{int(steps[len(steps) // 2]):,}"
